import { setTimeout as sleep } from 'node:timers/promises';
import type { RotateCaResponse } from '@berth/contracts/registry';
import { CaPhase } from '@berth/contracts/registry';
import type { Command } from 'commander';
import { terminalOf, withSession } from '../command.ts';
import { durationMs } from '../duration.ts';
import { CliError, exitCode } from '../exit-code.ts';
import { liveArea } from '../terminal/live.ts';

interface RotateOptions {
  readonly status?: boolean;
  readonly leaveBehind?: boolean;
  readonly timeout: string;
}

const pollMs = 1_000;

export function addRotateCaCommand(cluster: Command): void {
  cluster
    .command('rotate-ca')
    .description('replace the CAs of the cluster and of etcd while everything runs; again: go on where it stopped')
    .option('--status', 'only tell how far a rotation is, and for whom it waits')
    .option('--leave-behind', 'go on without absent nodes and people who have not renewed')
    .option('--timeout <duration>', 'stop waiting after this time; both CAs stay trusted', '10m')
    .addHelpText(
      'after',
      [
        '\nThe new CAs are trusted first, then they sign, then the old ones are dropped; each step waits until services, nodes',
        'and people have what the one before brought. People have it when they have run any berth command since. No application',
        'container is restarted; etcd is, twice. Join tokens end.',
        '\nWho is left behind needs a new certificate: a node a join token (`berth cluster token`) in its state folder, a',
        'person `berth certificate issue`.',
        '\nExamples:\n  berth cluster rotate-ca\n  berth cluster rotate-ca --status --output json',
      ].join('\n'),
    )
    .action(rotate);
}

async function rotate(options: RotateOptions, command: Command): Promise<void> {
  const terminal = terminalOf(command);
  // A session for each look: it takes over new CAs by itself.
  const ask = (start: boolean): Promise<RotateCaResponse> =>
    withSession(command, ({ certificate }) =>
      certificate.rotateCa({ start, advance: !options.status, leaveBehind: options.leaveBehind ?? false }),
    );
  if (options.status) {
    terminal.result(await ask(false), stateText);
    return;
  }
  const deadline = Date.now() + durationMs(options.timeout);
  const live = liveArea(terminal);
  let state = await ask(true);
  while (state.phase !== CaPhase.CA_PHASE_STEADY) {
    live.show([stateText(state)]);
    if (Date.now() > deadline) {
      throw new CliError(
        exitCode.notConverged,
        stateText(state),
        'run it again to go on; `--leave-behind` goes on without absent nodes and people who have not renewed',
      );
    }
    await sleep(pollMs);
    state = await again(() => ask(false));
  }
  terminal.result(
    state,
    (value) => `${stateText(value)}; join tokens have ended: \`berth cluster token\` makes new ones`,
  );
}

/** Services that take over new certificates, and etcd that restarts, may be away for a moment. */
async function again<T>(step: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await step();
    } catch (error) {
      if (attempt >= 20) throw error;
      await sleep(pollMs);
    }
  }
}

function stateText(state: RotateCaResponse): string {
  const { phase, generation, settlingMs, waitingNodes, absentNodes, waitingPeople } = state;
  if (phase === CaPhase.CA_PHASE_STEADY) return `CA ${generation} signs; no rotation is under way`;
  const now =
    phase === CaPhase.CA_PHASE_TRUSTING
      ? `CA ${generation} signs, CA ${generation + 1} is trusted too`
      : `CA ${generation} signs, CA ${generation - 1} is still trusted`;
  const waits = [
    ...(settlingMs > 0 ? [`services (${Math.ceil(settlingMs / 1_000)} s)`] : []),
    ...waitingNodes.map((name) => `node ${name}`),
    ...absentNodes.map((name) => `node ${name}, which is not ready`),
    ...waitingPeople,
  ];
  return waits.length === 0 ? now : `${now}; waiting for ${waits.join(', ')}`;
}
