import { NodeStatus } from '@berth/contracts/registry';
import { describe, expect, it } from 'vitest';
import { nodeFacts, replicas, serviceSpec, stackSpec } from '../../testing/builders.ts';
import { World } from '../../testing/world.ts';
import { bindNodeOf } from './binds.ts';

const bind = (relativeSource: string, more = {}, image = 'a') =>
  stackSpec('shop', [
    serviceSpec('web', {
      mode: replicas(2),
      container: { image, mounts: [{ type: 2, source: '/home/u/html', target: '/html', relativeSource }] },
      ...more,
    }),
    serviceSpec('other'),
  ]);
const nodes = (count: number) => Array.from({ length: count }, (_, index) => nodeFacts(`n${index + 1}`));

describe('relative bind sources', () => {
  it('are refused on several nodes, with service, source and remedy; absolute ones are not', () => {
    expect(() => bindNodeOf(bind('./html'), nodes(2))).toThrow(
      expect.objectContaining({
        reason: 'RELATIVE_BIND',
        message:
          'service "web" mounts ./html: a relative path is one of a single host, and the cluster has 2 nodes; pin the ' +
          'service to the node that has it (deploy.placement.constraints: ["node.hostname == host-n1"]), write an absolute ' +
          'path that every node has, or use a named volume',
      }),
    );
    expect(bindNodeOf(bind(''), nodes(2))).toBe('');
  });

  it.each([
    ['by host name', 'node.hostname == host-n2'],
    ['by id', 'node.id == n2'],
    ['by what only one node has', 'node.labels.disk == ssd'],
    ['by what no node has yet', 'node.labels.disk == tape'],
  ])('are accepted where a constraint pins the service, %s', (_name, constraint) => {
    const [first, second, third] = nodes(3);
    const spec = bind('~/html', { constraints: [constraint] });
    expect(bindNodeOf(spec, [first!, { ...second!, labels: { disk: 'ssd' } }, third!])).toBe('');
  });

  it('are not made clear by a host name that two nodes have', () => {
    const spec = bind('./html', { constraints: ['node.hostname == host-n2'] });
    const [first, second, third] = nodes(3);
    expect(() => bindNodeOf(spec, [first!, second!, { ...third!, hostname: 'host-n2' }])).toThrow(
      expect.objectContaining({ reason: 'RELATIVE_BIND' }),
    );
  });

  it('are not made clear by a constraint that admits several', () => {
    const spec = bind('./html', { constraints: ['node.hostname != host-n3'] });
    expect(() => bindNodeOf(spec, nodes(3))).toThrow(expect.objectContaining({ reason: 'RELATIVE_BIND' }));
  });

  it('accepted on the only node stay there when others join; a change is refused then, the same again is not', () => {
    const world = new World(nodes(1));
    world.apply(bind('./html'));
    world.settle();
    world.setNodes(nodes(3));
    expect(world.apply(bind('./html'))).toBe('unchanged');
    expect(() => world.apply(bind('./html', {}, 'b'))).toThrow(expect.objectContaining({ reason: 'RELATIVE_BIND' }));
    world.setNodes([nodeFacts('n1', { status: NodeStatus.NODE_STATUS_LOST }), ...nodes(3).slice(1)]);
    world.settle((id) => id !== 'n1');
    const pending = world.active('web').map((task) => task.pending);
    expect(pending).toMatchObject([
      { filters: [{ filter: 'bind-source', nodes: 2, detail: expect.stringContaining('lies on host-n1') }, {}] },
      {},
    ]);
    expect(world.active('other')).toMatchObject([{ nodeId: 'n2' }]);
    world.setNodes(nodes(3));
    world.settle();
    expect(world.active('web').map(({ nodeId }) => nodeId)).toEqual(['n1', 'n1']);
  });
});
