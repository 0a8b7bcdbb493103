import type { Change } from '@berth/contracts/scheduler';
import type { MirrorChange, StoredEntry } from '@berth/kernel';
import { headKey } from '@berth/kernel';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { nodeFacts, replicas, serviceSpec, stackSpec } from '../../testing/builders.ts';
import { World } from '../../testing/world.ts';
import { same } from '../stack/canonical.ts';
import { owner } from '../state/families.ts';
import { SchedulerView } from './scheduler-view.ts';

const step = fc.oneof(
  fc.record({
    kind: fc.constant('apply' as const),
    stack: fc.nat(1),
    count: fc.nat(4),
    image: fc.constantFrom('a', 'b'),
  }),
  fc.record({ kind: fc.constant('remove' as const), stack: fc.nat(1) }),
  fc.record({ kind: fc.constant('settle' as const) }),
);

it('changes, applied in order, give what a fresh mirror reads; each at a revision that touched its scopes', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const world = new World([nodeFacts('n1'), nodeFacts('n2')]);
      const follower = new Map<string, Change>();
      const entries = new Map<string, StoredEntry>();
      const original = world.view.apply.bind(world.view);
      world.view.apply = (changes: readonly MirrorChange[]) => {
        const heads = new Set(changes.map((change) => (change.kind === 'put' ? change.entry.key : change.key)));
        for (const change of changes) {
          if (change.kind === 'put') entries.set(change.entry.key, change.entry);
          else entries.delete(change.key);
        }
        const published = original(changes);
        for (const change of published) {
          for (const scope of change.scopes) expect(heads).toContain(headKey(owner, scope));
          if (change.resource === undefined) follower.delete(change.key);
          else follower.set(change.key, change);
        }
        return published;
      };
      for (const each of steps) {
        if (each.kind === 'settle') world.settle();
        else if (each.kind === 'remove') ignore(() => world.remove(`s${each.stack}`));
        else {
          ignore(() =>
            world.apply(
              stackSpec(`s${each.stack}`, [
                serviceSpec('web', { mode: replicas(each.count), container: { image: each.image } }),
              ]),
            ),
          );
        }
      }
      const fresh = new SchedulerView();
      const read = new Map(fresh.reset([...entries.values()]).map((change) => [change.key, change]));
      expect([...follower.keys()].sort()).toEqual([...read.keys()].sort());
      for (const [key, change] of follower) expect(same(change, read.get(key)), key).toBe(true);
    }),
    { numRuns: 30 },
  );
}, 60_000);

/** A stack that is being removed, or that is not there, refuses: no concern of this test. */
function ignore(act: () => void): void {
  try {
    act();
  } catch (error) {
    expect(error).toMatchObject({ name: 'BerthError' });
  }
}
