import type { Argument, Command, Option } from 'commander';

/** What a word may name, to be asked of the cluster or of this machine. */
export type Live = 'stack' | 'service' | 'task' | 'node' | 'network' | 'context';

export interface Candidate {
  readonly value: string;
  readonly description: string;
}

/** What may stand where the cursor is: words, or files, which the shell completes itself. */
export type Completion = { readonly kind: 'words'; readonly words: readonly Candidate[] } | { readonly kind: 'files' };

/** Names of the kinds asked for; those that can't be had are left out. */
export type AskLive = (kinds: readonly Live[]) => Promise<readonly Candidate[]>;

/** What an argument of this name may be. */
const argumentKinds: Readonly<Record<string, readonly Live[]>> = {
  task: ['task'],
  stack: ['stack'],
  node: ['node'],
  context: ['context'],
  target: ['stack', 'service', 'task'],
  object: ['stack', 'service', 'task', 'node', 'network'],
};
/** The same for the value of an option. */
const optionKinds: Readonly<Record<string, readonly Live[]>> = { node: ['node'], context: ['context'] };
/** Options whose value is a file or a folder. */
const fileOptions = new Set(['file', 'env-file', 'project-directory', 'input', 'destination', 'out', 'socket']);

/**
 * Completes a command line: `words` are those before the cursor's after the program's name, `current` is the cursor's, as
 * far as it is written. Commands, options and choices come from the program itself.
 */
export async function complete(
  program: Command,
  words: readonly string[],
  current: string,
  ask: AskLive,
): Promise<Completion> {
  const place = placeOf(program, words);
  if (place === undefined) return none;
  const { command, option, operands, optionsOver } = place;
  if (option !== undefined) return optionValue(option, current, ask);
  if (!optionsOver && current.startsWith('-')) {
    const equals = current.indexOf('=');
    const named = equals < 0 ? undefined : optionNamed(command, current.slice(0, equals));
    if (named !== undefined) return none;
    return matching(visibleOptions(command).map(optionCandidate), current);
  }
  const below = command.commands.filter((each) => !isHidden(each));
  if (below.length > 0) {
    return matching(
      below.map((each) => ({ value: each.name(), description: each.description() })),
      current,
    );
  }
  const { registeredArguments } = command;
  const argument = registeredArguments[operands] ?? registeredArguments.findLast((each) => each.variadic);
  return argument === undefined ? none : argumentOf(argument, current, ask);
}

interface Place {
  readonly command: Command;
  /** The option whose value stands at the cursor. */
  readonly option: Option | undefined;
  /** Operands of the command before the cursor. */
  readonly operands: number;
  /** What follows belongs to a command that is passed on, or stands behind `--`. */
  readonly optionsOver: boolean;
}

const none: Completion = { kind: 'words', words: [] };

function placeOf(program: Command, words: readonly string[]): Place | undefined {
  let command = program;
  let option: Option | undefined;
  let operands = 0;
  let optionsOver = false;
  for (const word of words) {
    if (option !== undefined) {
      option = undefined;
    } else if (!optionsOver && word === '--') optionsOver = true;
    else if (!optionsOver && word.startsWith('-') && word !== '-') {
      const named = optionNamed(command, word);
      if (named !== undefined && (named.required || named.optional)) option = named;
    } else if (command.commands.length > 0) {
      const next = command.commands.find((each) => each.name() === word || each.aliases().includes(word));
      if (next === undefined) return undefined;
      command = next;
    } else {
      operands += 1;
      // `exec TASK COMMAND …`: the rest is not ours.
      if (command.registeredArguments[1]?.name() === 'command') optionsOver = true;
    }
  }
  return { command, option, operands, optionsOver };
}

async function optionValue(option: Option, current: string, ask: AskLive): Promise<Completion> {
  if (option.argChoices !== undefined) return matching(plain(option.argChoices), current);
  const name = option.long?.replace(/^--/u, '') ?? '';
  if (fileOptions.has(name)) return { kind: 'files' };
  const kinds = optionKinds[name];
  return kinds === undefined ? none : matching(await ask(kinds), current);
}

async function argumentOf(argument: Argument, current: string, ask: AskLive): Promise<Completion> {
  if (argument.argChoices !== undefined) return matching(plain(argument.argChoices), current);
  const kinds = argumentKinds[argument.name()];
  return kinds === undefined ? none : matching(await ask(kinds), current);
}

function matching(candidates: readonly Candidate[], current: string): Completion {
  const words = candidates.filter(({ value }) => value.startsWith(current));
  return {
    kind: 'words',
    words: [...words].sort((a, b) => a.value.localeCompare(b.value, undefined, { numeric: true })),
  };
}

function plain(values: readonly string[]): Candidate[] {
  return values.map((value) => ({ value, description: '' }));
}

function visibleOptions(command: Command): Option[] {
  return command.createHelp().visibleOptions(command);
}

function optionNamed(command: Command, word: string): Option | undefined {
  return visibleOptions(command).find(({ long, short }) => word === long || word === short);
}

function optionCandidate({ long, short, description }: Option): Candidate {
  return { value: long ?? short ?? '', description };
}

/** Commander knows no question for it. */
function isHidden(command: Command): boolean {
  return command.name().startsWith('__');
}
