import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { spawn } from 'node:child_process';
import type { ExecOptions, ExecResult } from './exec.ts';
import { execute, run } from './exec.ts';
import { inNetwork } from './network-namespace.ts';

export const network = '198.18.0';
const clientAddress = `${network}.250`;

/** Programs here are processes of the machine with the network of the lab: a user's terminal on the LAN. */
export class LabClient {
  readonly name = 'client';
  readonly address = clientAddress;
  readonly netns: string;

  constructor(netns: string) {
    this.netns = netns;
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
    return run([...inNetwork(this.netns), ...argv], options);
  }

  async tryExec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return execute([...inNetwork(this.netns), ...argv], options);
  }

  spawn(argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [program, ...args] = [...inNetwork(this.netns), ...argv];
    return spawn(program ?? '', args, options);
  }
}
