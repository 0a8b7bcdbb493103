import fc from 'fast-check';
import { expect, it } from 'vitest';
import { AssignmentLog } from './assignment-log.ts';

it('knows exactly what changed after a revision, or says that it does not', () => {
  const change = fc.record({
    node: fc.constantFrom('a', 'b'),
    task: fc.constantFrom('t1', 't2', 't3'),
    step: fc.nat(2),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), fc.nat(8), fc.nat(100), (changes, max, since) => {
      const log = new AssignmentLog(max);
      log.reset(10);
      let revision = 10;
      const all: { node: string; task: string; revision: number }[] = [];
      for (const { node, step, task } of changes) {
        revision += step;
        log.push(node, revision, task);
        all.push({ node, task, revision });
      }
      for (const node of ['a', 'b']) {
        const known = log.since(node, since);
        const truth = new Set(
          all.filter((each) => each.node === node && each.revision > since).map(({ task }) => task),
        );
        if (known) expect(known).toEqual(truth);
        // A node with few changes goes on where it was, however many others had.
        else expect(since < 10 || all.filter((each) => each.node === node).length > max).toBe(true);
      }
    }),
  );
});
