import type { PlanStackResponse, ServiceChange } from '@berth/contracts/scheduler';
import { ChangeAction } from '@berth/contracts/scheduler';
import type { StackSpec } from '@berth/contracts/workload';
import type { Revision } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import type { Command } from 'commander';
import { interruptSignal, terminalOf, withSession } from '../command.ts';
import type { ComposeOptions } from '../compose-files.ts';
import { addComposeOptions, loadSpec } from '../compose-files.ts';
import { durationMs } from '../duration.ts';
import { CliError, exitCode } from '../exit-code.ts';
import { followStack } from '../follow-stack.ts';
import type { HostnameOf } from '../hostnames.ts';
import { hostnames } from '../hostnames.ts';
import type { Session } from '../session.ts';
import type { StackState } from '../stack-state.ts';
import { liveArea } from '../terminal/live.ts';
import type { Terminal } from '../terminal/output.ts';
import { portsText, shownName, stateText } from './list.ts';

/** Time that a slot that failed for good is given to be replaced, before `up` gives up on it. */
const stuckPatienceMs = 1_000;

interface UpOptions extends ComposeOptions {
  readonly timeout: string;
  readonly detach: boolean;
}

interface DownOptions {
  readonly namespace: string;
  readonly volumes: boolean;
  readonly timeout: string;
  readonly detach: boolean;
  readonly file?: readonly string[];
  readonly projectName?: string;
}

export function addStackCommands(program: Command): void {
  addComposeOptions(program.command('up'))
    .description('apply a Compose file and wait until it runs')
    .option('-t, --timeout <duration>', 'how long to wait for it to converge', '5m')
    .option('-d, --detach', 'do not wait', false)
    .addHelpText(
      'after',
      '\nExamples:\n  berth up\n  berth up -f compose.yaml -f compose.prod.yaml --timeout 2m\n  berth up --lenient -f somebody-elses.yaml\n\nExit codes: 0 converged, 2 bad file, 3 not converged in time, 4 unreachable, 5 denied, 6 conflict',
    )
    .action(async (options: UpOptions, command: Command) => {
      const spec = loadSpec(options, terminalOf(command));
      await withSession(command, (session, terminal) => up(session, terminal, spec, options));
    });

  addComposeOptions(program.command('plan'))
    .description('show what `up` would change, and change nothing')
    .addHelpText('after', '\nExamples:\n  berth plan -f compose.yaml')
    .action(async (options: ComposeOptions, command: Command) => {
      const spec = loadSpec(options, terminalOf(command));
      await withSession(command, async ({ control }, terminal) => {
        const plan = await control.planStack({ spec });
        terminal.result(plan, (value) => planText(value, terminal));
      });
    });

  program
    .command('down')
    .description('remove a stack, and wait until nothing of it is left')
    .argument('[stack]', "stack's name (default: that of the Compose file here)")
    .option('-f, --file <path>', 'Compose file that names the stack', (value, before: string[] = []) => [
      ...before,
      value,
    ])
    .option('-p, --project-name <name>', "stack's name")
    .option('-n, --namespace <name>', 'namespace', 'default')
    .option('-v, --volumes', 'its named volumes too', false)
    .option('-t, --timeout <duration>', 'how long to wait', '5m')
    .option('-d, --detach', 'do not wait', false)
    .addHelpText('after', '\nExamples:\n  berth down guestbook\n  berth down guestbook --volumes')
    .action(async (stack: string | undefined, options: DownOptions, command: Command) => {
      const name = stack ?? options.projectName ?? loadSpec({ ...options, lenient: true }, terminalOf(command)).name;
      await withSession(command, (session, terminal) => down(session, terminal, name, options));
    });
}

async function up(session: Session, terminal: Terminal, spec: StackSpec, options: UpOptions): Promise<void> {
  const timeout = AbortSignal.timeout(durationMs(options.timeout));
  const signal = AbortSignal.any([timeout, interruptSignal()]);
  const { stack, revision, changes } = await applyAfterRemoval(session, terminal, spec, options, signal);
  if (!stack) throw new CliError(exitCode.internal, 'the scheduler answered without a stack');
  terminal.note(changes.length === 0 ? `stack ${stack.name}: nothing changes` : changesText(changes, terminal));
  if (options.detach) {
    terminal.result({ stack, changes, converged: false }, () => `stack ${stack.name} accepted`);
    return;
  }
  const live = liveArea(terminal);
  const hostnameOf = await hostnames(session);
  let stuckSince: number | undefined;
  let last: StackState | undefined;
  const { state, reached } = await followStack(
    session,
    stack.id,
    revision as Revision | undefined,
    (now) => {
      last = now;
      live.show(progressLines(now, terminal, hostnameOf));
      const { kind } = now.verdict(stack.version);
      if (kind !== 'stuck') stuckSince = undefined;
      else stuckSince ??= performance.now();
      const superseded = (now.stack?.version ?? 0) > stack.version;
      const isStuck = stuckSince !== undefined && performance.now() - stuckSince >= stuckPatienceMs;
      return kind === 'converged' || superseded || now.gone || isStuck || now.stack?.removing === true;
    },
    signal,
  );
  const final = last ?? state;
  if ((final.stack?.version ?? 0) > stack.version || final.gone || final.stack?.removing) {
    throw new CliError(exitCode.conflict, `stack ${stack.name} was changed or removed by somebody else meanwhile`);
  }
  const verdict = final.verdict(stack.version);
  if (verdict.kind !== 'converged') {
    const why = reached
      ? 'it cannot converge'
      : timeout.aborted
        ? `not converged after ${options.timeout}`
        : 'interrupted';
    throw new CliError(
      exitCode.notConverged,
      [`stack ${stack.name}: ${why}`, ...verdict.reasons.map((reason) => `  ${reason}`)].join('\n'),
      'see `berth ps`, `berth why TASK` and `berth logs`; what was accepted stays accepted',
    );
  }
  const tasks = final.current();
  terminal.result({ stack, changes, converged: true, tasks }, () =>
    convergedText(stack.name, final, terminal, hostnameOf),
  );
}

/** Pause between two tries to apply a stack whose predecessor of that name is still there. */
const askAgainMs = 2_000;

/** A stack that comes back under its name is new: it waits for the end of the old one. */
async function applyAfterRemoval(
  session: Session,
  terminal: Terminal,
  spec: StackSpec,
  options: UpOptions,
  signal: AbortSignal,
) {
  let told = false;
  for (;;) {
    try {
      return await session.control.applyStack({ spec }, { signal });
    } catch (error) {
      if (!isBerthError(error, 'FailedPrecondition', 'STACK_REMOVING')) throw error;
      if (!told) terminal.note(`waiting until the old stack ${spec.name} is gone`);
      told = true;
    }
    const { stacks } = await session.control.listStacks({ namespace: spec.namespace });
    const old = stacks.find((stack) => stack.name === spec.name && stack.removing);
    // Should a node of the old one be lost meanwhile, the scheduler no longer waits for it: so it is asked again.
    const turn = AbortSignal.any([signal, AbortSignal.timeout(askAgainMs)]);
    if (old) await followStack(session, old.id, undefined, (state) => state.gone, turn);
    if (signal.aborted) {
      throw new CliError(exitCode.notConverged, `the old stack ${spec.name} was not gone after ${options.timeout}`);
    }
  }
}

async function down(session: Session, terminal: Terminal, name: string, options: DownOptions): Promise<void> {
  const { control } = session;
  const request = { namespace: options.namespace, name, volumes: options.volumes };
  const { stack, revision } = await control.removeStack(request);
  if (!stack) throw new CliError(exitCode.internal, 'the scheduler answered without a stack');
  if (options.detach) {
    terminal.result({ stack, removed: false }, () => `stack ${name} is being removed`);
    return;
  }
  const signal = AbortSignal.any([AbortSignal.timeout(durationMs(options.timeout)), interruptSignal()]);
  const live = liveArea(terminal);
  const hostnameOf = await hostnames(session);
  const { state, reached } = await followStack(
    session,
    stack.id,
    revision as Revision | undefined,
    (now) => {
      live.show(removalLines(now, terminal, hostnameOf));
      return now.stack === undefined;
    },
    signal,
  );
  if (!reached) {
    const nodes = state.stack?.waitingForNodes ?? [];
    throw new CliError(
      exitCode.notConverged,
      `stack ${name} is not gone yet${nodes.length > 0 ? `; waiting for node ${nodes.join(', ')}` : ''}`,
      'the removal goes on; run the command again to wait for it',
    );
  }
  terminal.result({ stack, removed: true }, () => `stack ${name} is gone`);
}

function progressLines(state: StackState, terminal: Terminal, hostnameOf: HostnameOf): string[] {
  const { colors } = terminal;
  const tasks = state.current().map((view) => {
    const message = view.status?.message || view.task?.pending?.summary || '';
    return `  ${shownName(view, hostnameOf).padEnd(24)} ${stateText(view, terminal)}${message === '' ? '' : colors.dim(`  ${message}`)}`;
  });
  return tasks.length === 0 ? ['  being planned'] : tasks;
}

function removalLines(state: StackState, terminal: Terminal, hostnameOf: HostnameOf): string[] {
  const tasks = [...state.tasks.values()].map(
    (view) => `  ${shownName(view, hostnameOf).padEnd(24)} ${stateText(view, terminal)}`,
  );
  const nodes = state.stack?.waitingForNodes ?? [];
  return [...tasks, ...(nodes.length > 0 ? [`  waiting for node ${nodes.join(', ')}`] : [])];
}

function convergedText(name: string, state: StackState, terminal: Terminal, hostnameOf: HostnameOf): string {
  const ports = state
    .current()
    .filter(({ status }) => (status?.ports.length ?? 0) > 0)
    .map((view) => `  ${shownName(view, hostnameOf)}  ${portsText(view.status?.ports ?? [])}`);
  return [terminal.colors.green(`stack ${name} runs: ${state.current().length} tasks`), ...ports].join('\n');
}

function planText(plan: PlanStackResponse, terminal: Terminal): string {
  if (plan.changes.length === 0) return 'nothing changes';
  return changesText(plan.changes, terminal);
}

function changesText(changes: readonly ServiceChange[], terminal: Terminal): string {
  const { colors } = terminal;
  const marks = {
    [ChangeAction.CHANGE_ACTION_CREATE]: colors.green('+'),
    [ChangeAction.CHANGE_ACTION_UPDATE]: colors.yellow('~'),
    [ChangeAction.CHANGE_ACTION_REMOVE]: colors.red('-'),
  };
  return changes
    .flatMap((change) => {
      const counts = [
        change.tasksCreated > 0 ? `${change.tasksCreated} created` : '',
        change.tasksReplaced > 0 ? `${change.tasksReplaced} replaced` : '',
        change.tasksRemoved > 0 ? `${change.tasksRemoved} removed` : '',
      ].filter((text) => text !== '');
      const head = `${marks[change.action as keyof typeof marks] ?? ' '} ${change.kind} ${change.name}`;
      const fields =
        change.action === ChangeAction.CHANGE_ACTION_UPDATE
          ? change.fields.map((field) => `    ${field.path}${valuesText(field.before, field.after)}`)
          : [];
      return [counts.length > 0 ? `${head}  (tasks: ${counts.join(', ')})` : head, ...fields];
    })
    .join('\n');
}

/** Secret values are sent as empty on both sides: then only the name is shown. */
function valuesText(before: string, after: string): string {
  return before === '' && after === '' ? '' : `: ${before || '(unset)'} → ${after || '(unset)'}`;
}
