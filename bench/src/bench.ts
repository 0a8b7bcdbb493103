import type { Program } from '../../tools/test/programs.ts';
import type { Row } from './rows.ts';

/** A measurement of Berth beside a reference. */
export interface Bench {
  readonly what: string;
  /** Rounds unless `--rounds` says otherwise. */
  readonly rounds: number;
  /** Programs that it needs beside those of the tests. */
  readonly programs?: readonly Program[];
  run(rounds: number, progress: (line: string) => void): Promise<readonly Row[]>;
}
