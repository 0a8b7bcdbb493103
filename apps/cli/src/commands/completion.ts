import { effectiveState, stateName } from '@berth/workload';
import type { Command } from 'commander';
import { Argument } from 'commander';
import { chosenContext } from '../command.ts';
import type { Candidate, Live } from '../completion.ts';
import { complete } from '../completion.ts';
import type { Shell } from '../completion-scripts.ts';
import { completionScript, shells } from '../completion-scripts.ts';
import { Contexts } from '../context.ts';
import { hostnames } from '../hostnames.ts';
import type { Session } from '../session.ts';
import { openSession } from '../session.ts';
import { shownName } from './list.ts';

/** Who presses Tab does not wait longer for names. */
const liveTimeoutMs = 1_500;

export function addCompletionCommands(program: Command): void {
  program
    .command('completion')
    .description('print the completion script of a shell: commands, options, and the names of what runs')
    .addArgument(new Argument('<shell>', 'which').choices(shells))
    .addHelpText(
      'after',
      '\nExamples:\n  source <(berth completion bash)      # in ~/.bashrc\n  source <(berth completion zsh)       # in ~/.zshrc, after compinit\n  berth completion fish | source       # in ~/.config/fish/config.fish',
    )
    .action((shell: Shell) => void process.stdout.write(completionScript(shell)));

  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .action(async (given: string[], _options: object, command: Command) => {
      const current = given.at(-1) ?? '';
      const words = given.slice(0, -1);
      const answer = await complete(program, words, current, (kinds) => live(contextOf(words, command), kinds));
      const lines =
        answer.kind === 'files'
          ? [':files']
          : answer.words.map(({ value, description }) => (description === '' ? value : `${value}\t${description}`));
      if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
    });
}

/** The line that is being written may name a context itself. */
function contextOf(words: readonly string[], command: Command): string | undefined {
  const at = words.findLastIndex((word) => word === '-c' || word === '--context');
  return at < 0 ? chosenContext(command) : words[at + 1];
}

/** Names out of the cluster; none where it does not answer in time: a completion is never an error. */
async function live(context: string | undefined, kinds: readonly Live[]): Promise<Candidate[]> {
  if (kinds.includes('context')) {
    const contexts = new Contexts();
    return contexts.list().map((value) => ({ value, description: contexts.read(value).registries.join(', ') }));
  }
  const signal = AbortSignal.timeout(liveTimeoutMs);
  let session: Session | undefined;
  try {
    session = await openSession(context, { signal });
    const open = session;
    return (await Promise.all(kinds.map((kind) => names(open, kind, signal)))).flat();
  } catch {
    return [];
  } finally {
    session?.close();
  }
}

async function names(session: Session, kind: Live, signal: AbortSignal): Promise<Candidate[]> {
  const { control, network } = session;
  switch (kind) {
    case 'stack': {
      const { stacks } = await control.listStacks({}, { signal });
      return stacks.map(({ name, removing }) => ({
        value: name,
        description: removing ? 'stack, being removed' : 'stack',
      }));
    }
    case 'service': {
      const { services } = await control.listServices({}, { signal });
      return services.map(({ stack, name, running, wanted }) => ({
        value: `${stack}_${name}`,
        description: `service, ${running}/${wanted} running`,
      }));
    }
    case 'task': {
      const [{ tasks }, hostnameOf] = await Promise.all([
        control.listTasks({}, { signal }),
        hostnames(session, signal),
      ]);
      return tasks.map((view) => ({
        value: `${view.task?.stack}_${shownName(view, hostnameOf)}`,
        description: view.task ? `task, ${stateName(effectiveState(view.task, view.status))}` : 'task',
      }));
    }
    case 'node': {
      const { nodes } = await control.listNodes({}, { signal });
      return nodes.map(({ hostname, status }) => ({ value: hostname, description: `node, ${status}` }));
    }
    case 'network': {
      const { networks } = await network.listNetworks({}, { signal });
      return networks.map(({ fullName }) => ({ value: fullName, description: 'network' }));
    }
    case 'context':
      return [];
  }
}
