import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ChangeLike, FeedStep } from './change.ts';
import type { DecodedEvent } from './scope-state.ts';
import { ScopeState } from './scope-state.ts';

/** One scope's true history: at each revision one key is set or deleted; each event is cut into parts. */
interface Write {
  readonly revision: number;
  readonly prev: number;
  readonly change: ChangeLike;
  readonly parts: number;
}

const item = (key: string, value: string | undefined): ChangeLike => ({
  scopes: ['s'],
  key,
  ...(value === undefined ? {} : { resource: { $case: 'item', value } }),
});

const anyHistory = fc
  .array(
    fc.record({
      key: fc.constantFrom('a', 'b', 'c'),
      deleted: fc.boolean(),
      gap: fc.integer({ min: 1, max: 3 }),
      parts: fc.integer({ min: 1, max: 3 }),
    }),
    {
      minLength: 1,
      maxLength: 25,
    },
  )
  .map((writes) => {
    const history: Write[] = [];
    let revision = 0;
    for (const { key, deleted, gap, parts } of writes) {
      const prev = history.at(-1)?.revision ?? 0;
      revision += gap;
      history.push({ revision, prev, parts, change: item(key, deleted ? undefined : `${revision}`) });
    }
    return history;
  });

const stateAt = (history: readonly Write[], revision: number): Map<string, string> => {
  const state = new Map<string, string>();
  for (const write of history) if (write.revision <= revision) put(state, write.change);
  return state;
};

function put(state: Map<string, string>, change: ChangeLike): void {
  if (change.resource) state.set(change.key, `${change.resource.value}`);
  else state.delete(change.key);
}

/** The parts of a write's event; the change itself is in the last. */
function eventsOf(write: Write): DecodedEvent<ChangeLike>[] {
  return Array.from({ length: write.parts }, (_, i) => ({
    owner: 'registry',
    epoch: 'e',
    revision: write.revision,
    prev: write.prev,
    scope: 's',
    part: i + 1,
    parts: write.parts,
    kind: 'changes',
    more: false,
    changes: i + 1 === write.parts ? [write.change] : [],
  }));
}

test('whatever is lost, doubled or swapped, and however old the answers: never back in time, never wrong, equal in the end', () => {
  fc.assert(
    fc.property(
      anyHistory,
      fc.array(fc.constantFrom('deliver', 'deliver', 'deliver', 'lose', 'double', 'swap', 'answer'), { maxLength: 80 }),
      fc.array(fc.nat({ max: 100 }), { minLength: 1, maxLength: 10 }),
      (history, fates, lags) => {
        const scope = new ScopeState<ChangeLike>();
        const held = new Map<string, string>();
        let at = 0;
        const apply = (steps: readonly FeedStep<ChangeLike>[]): void => {
          for (const step of steps) {
            expect(step.revision.revision).toBeGreaterThanOrEqual(at);
            at = step.revision.revision;
            if (step.kind === 'reset') held.clear();
            for (const change of step.changes) put(held, change);
            expect(held).toEqual(stateAt(history, at));
          }
        };
        const newest = history.at(-1)?.revision ?? 0;
        let answers = 0;
        const answer = (revision: number): void => {
          const since = scope.asOf?.revision;
          const changes = history.filter((write) => write.revision <= revision && write.revision > (since ?? 0));
          const head = history.findLast((write) => write.revision <= revision)?.revision ?? 0;
          apply(
            scope.onAnswer({
              revision: { epoch: 'e', revision },
              reset: since === undefined,
              changes: changes.map(({ change }) => change),
              head: { epoch: 'e', revision: head },
            }),
          );
        };
        const messages = history.flatMap(eventsOf);
        for (const fate of fates) {
          const [first, second] = messages;
          if (fate === 'answer') answer(Math.max(0, newest - (lags[answers++ % lags.length] ?? 0)));
          else if (!first) break;
          else if (fate === 'swap' && second) messages.splice(0, 2, second, first);
          else {
            messages.shift();
            const copies = fate === 'lose' ? 0 : fate === 'double' ? 2 : 1;
            for (let i = 0; i < copies; i++) apply(scope.onEvent(first));
          }
        }
        // The head is repeated, and a replica that has it answers.
        scope.onHead({ epoch: 'e', revision: newest });
        if (scope.behind) answer(newest);
        expect(scope.behind).toBe(false);
        expect(held).toEqual(stateAt(history, newest));
      },
    ),
    { numRuns: 500 },
  );
});
