import { sweepCrashed } from './sweep.ts';

/** Clears what crashed test runs left on this machine: `node libs/testing/hosts/src/sweep-main.ts`. */
for (const path of await sweepCrashed()) process.stdout.write(`removed ${path}\n`);
