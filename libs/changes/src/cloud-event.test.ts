import { isBerthError } from '@berth/kernel';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ChangeEvent } from './cloud-event.ts';
import { decodeChangeEvent, encodeBeacon, encodeChangeEvent, encodeHead, messageIdOf } from './cloud-event.ts';
import { eventDocs } from './event-docs.ts';
import { eventSubjects } from './subjects.ts';

const count = fc.integer({ min: 0, max: 2 ** 40 });
const anyEvent: fc.Arbitrary<ChangeEvent> = fc
  .record({
    owner: fc.constantFrom('registry', 'scheduler', 'network'),
    epoch: fc.string(),
    revision: count,
    prev: count,
    scope: fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed()),
    part: fc.integer({ min: 1, max: 5 }),
    kind: fc.constantFrom('changes', 'reset'),
    more: fc.boolean(),
    changes: fc.array(fc.record({ key: fc.string(), resource: fc.constantFrom({ a: 1 }, 'x', true) })),
  })
  .map((event) => ({ ...event, parts: 5 }));

test('an event is the same after its journey', () => {
  fc.assert(
    fc.property(anyEvent, (each) => {
      expect(decodeChangeEvent(encodeChangeEvent(each))).toEqual(each);
    }),
  );
});

test('two events have one id only if they are the same part of the same', () => {
  fc.assert(
    fc.property(anyEvent, anyEvent, (a, b) => {
      const of = ({ owner, epoch, revision, scope, part, kind }: ChangeEvent) =>
        JSON.stringify([owner, epoch, revision, scope, part, kind]);
      fc.pre(!a.epoch.includes('/') && !b.epoch.includes('/'));
      expect(messageIdOf(a) === messageIdOf(b)).toBe(of(a) === of(b));
    }),
  );
});

const event: ChangeEvent = {
  owner: 'registry',
  epoch: 'e',
  revision: 7,
  prev: 3,
  scope: 'network.x',
  part: 1,
  parts: 1,
  kind: 'reset',
  more: true,
  changes: [],
};
const json = (bytes: Uint8Array): Record<string, unknown> => JSON.parse(new TextDecoder().decode(bytes));

test('it is a CloudEvent, and the docs name exactly its fields', () => {
  const encoded = json(encodeChangeEvent(event));
  expect(encoded).toMatchObject({
    specversion: '1.0',
    id: 'e/registry/7/network.x/reset',
    source: '/berth/registry',
    type: 'berth.reset.v1',
    subject: 'network.x',
  });
  const names = (fields: readonly { readonly name: string }[]) => fields.map(({ name }) => name);
  expect(Object.keys(encoded)).toEqual([...names(eventDocs.attributes), 'data']);
  for (const { data } of eventDocs.types) expect(Object.keys(encoded['data'] as object)).toEqual(names(data));
  expect(Object.keys(json(encodeHead({ owner: 'o', epoch: 'e', scope: 's', revision: 1 })))).toEqual(
    names(eventDocs.head),
  );
  expect(Object.keys(json(encodeBeacon({ owner: 'o', epoch: 'e', publishedUpTo: 1 })))).toEqual(
    names(eventDocs.beacon),
  );
});

test.each([
  ['no JSON', 'x'],
  ['no object', '[]'],
  ['another version', JSON.stringify({ ...json(encodeChangeEvent(event)), specversion: '0.3' })],
  ['another type', JSON.stringify({ ...json(encodeChangeEvent(event)), type: 'berth.changes.v2' })],
  ['no data', JSON.stringify({ ...json(encodeChangeEvent(event)), data: undefined })],
  [
    'a negative revision',
    JSON.stringify({
      ...json(encodeChangeEvent(event)),
      data: { ...(json(encodeChangeEvent(event))['data'] as object), revision: -1 },
    }),
  ],
])('%s is refused', (_what, text) => {
  expect(() => decodeChangeEvent(new TextEncoder().encode(text))).toThrow(
    expect.toSatisfy((error: unknown) => isBerthError(error, 'InvalidArgument', 'BAD_EVENT')),
  );
});

test('subjects hold the tokens of a scope, whatever its names are', () => {
  const subjects = eventSubjects('network');
  expect(subjects.changes('network.abc')).toBe('berth.network.changes.network.abc');
  expect(subjects.head('node.control-plane')).toBe('berth.network.head.node.control-plane');
  expect(subjects.changes('stack.a b>*')).toBe('berth.network.changes.stack.a%20b%3E%2A');
  expect(eventDocs.subjects('network').map(({ subject }) => subject)).toEqual([
    'berth.network.changes.<kind>.<id>',
    'berth.network.head.<kind>.<id>',
    'berth.network.beacon',
  ]);
});
