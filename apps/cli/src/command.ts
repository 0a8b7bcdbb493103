import type { Command } from 'commander';
import { Option } from 'commander';
import { Contexts } from './context.ts';
import type { Session } from './session.ts';
import { openSession } from './session.ts';
import type { OutputFormat, Terminal } from './terminal/output.ts';
import { createTerminal } from './terminal/output.ts';

/** Options that every command takes, before or after its name. */
export interface GlobalOptions {
  readonly context?: string;
  readonly output: OutputFormat;
}

/** Adds the global options to a command and all below it, so that they may stand anywhere. */
export function addGlobalOptions(command: Command): void {
  command
    .option('-c, --context <name>', 'cluster to speak to (default: $BERTH_CONTEXT, else the current one)')
    .addOption(
      new Option('-o, --output <format>', 'how results are shown (default: table)').choices(['table', 'json']),
    );
  for (const below of command.commands) addGlobalOptions(below);
}

/** The global options: what stands nearest to the command counts. */
export function globals(command: Command): GlobalOptions {
  let given: Partial<GlobalOptions> = {};
  for (let at: Command | null = command; at; at = at.parent) given = { ...at.opts<Partial<GlobalOptions>>(), ...given };
  return { output: given.output ?? 'table', ...(given.context === undefined ? {} : { context: given.context }) };
}

/** Was JSON asked for? For errors that come before, or instead of, a command. */
export function asksForJson(argv: readonly string[]): boolean {
  return argv.some(
    (arg, at) =>
      /^(-o|--output)=?json$/u.test(arg) || ((arg === '-o' || arg === '--output') && argv[at + 1] === 'json'),
  );
}

/** The context that was chosen: by option, else by $BERTH_CONTEXT, else the current one. */
export function chosenContext(command: Command): string | undefined {
  return globals(command).context ?? process.env['BERTH_CONTEXT'] ?? new Contexts().current();
}

export function terminalOf(command: Command): Terminal {
  return createTerminal(globals(command).output);
}

/** Runs a command on the chosen cluster; the connection is closed in any case. */
export async function withSession<T>(
  command: Command,
  run: (session: Session, terminal: Terminal) => Promise<T>,
): Promise<T> {
  const session = await openSession(chosenContext(command));
  try {
    return await run(session, terminalOf(command));
  } finally {
    session.close();
  }
}

/** A signal that Ctrl-C and SIGTERM abort, for commands that follow something. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort());
  return controller.signal;
}
