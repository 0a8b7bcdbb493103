import { Node } from '@berth/contracts/registry';
import { expect, it } from 'vitest';
import { findNode } from './find-node.ts';

const nodeFacts = (id: string, partial: Partial<Node>) => Node.fromPartial({ id, ...partial });

const nodes = [
  nodeFacts('abcdef', { hostname: 'h1' }),
  nodeFacts('abcxyz', { hostname: 'h2' }),
  nodeFacts('zzzzzz', { hostname: 'twin' }),
  nodeFacts('yyyyyy', { hostname: 'twin' }),
  nodeFacts('qqq', { hostname: 'abcdef' }),
];

it('finds a node by id, by host name and by a unique beginning of its id; an id counts most', () => {
  expect(findNode(nodes, 'abcdef', true).hostname).toBe('h1');
  expect(findNode(nodes, 'h2', true).id).toBe('abcxyz');
  expect(findNode(nodes, 'abcx', true).id).toBe('abcxyz');
  expect(findNode(nodes, 'zzz', true).id).toBe('zzzzzz');
});

it('says what there is instead, or which it may mean', () => {
  expect(() => findNode(nodes, 'h3', true)).toThrow(
    expect.objectContaining({
      reason: 'NO_SUCH_NODE',
      message: 'there is no node "h3"; there are abcdef, h1, h2, twin, twin',
    }),
  );
  expect(() => findNode(nodes, 'ab', true)).toThrow(expect.objectContaining({ reason: 'NO_SUCH_NODE' }));
  expect(() => findNode(nodes, '', true)).toThrow(expect.objectContaining({ reason: 'NO_SUCH_NODE' }));
  expect(() => findNode(nodes, 'h3', false)).toThrow(expect.objectContaining({ reason: 'NOT_SYNCED' }));
  expect(() => findNode([], 'h1', true)).toThrow('there is none');
  expect(() => findNode(nodes, 'abc', true)).toThrow(expect.objectContaining({ reason: 'AMBIGUOUS' }));
  expect(() => findNode(nodes, 'twin', true)).toThrow('twin (zzzzzz), twin (yyyyyy)');
});
