import { Network } from '@berth/contracts/network';
import { Service, Stack, TaskView } from '@berth/contracts/scheduler';
import { isBerthError } from '@berth/kernel';
import { findNode } from '@berth/workload';
import type { Command } from 'commander';
import { Option } from 'commander';
import { withSession } from '../command.ts';
import { CliError, exitCode } from '../exit-code.ts';
import type { Session } from '../session.ts';
import { fieldsText } from '../terminal/fields.ts';
import { inspectNode } from './node.ts';

const kinds = ['stack', 'service', 'task', 'node', 'network'] as const;
type Kind = (typeof kinds)[number];

interface InspectOptions {
  readonly type?: Kind;
  readonly namespace: string;
}

/** What was found under a name; undefined: nothing of this kind has it. */
type Inspect = (session: Session, name: string, namespace: string) => Promise<object | undefined>;

export function addInspectCommand(program: Command): void {
  program
    .command('inspect')
    .description('show all there is to know of a task, service, stack, node or network; no value of an environment')
    .argument('<object>', 'stack, stack_service, task (stack_service.slot or id), node, or network (stack_network)')
    .addOption(new Option('--type <kind>', 'what the name means, if it may mean several').choices(kinds))
    .option('-n, --namespace <name>', 'namespace', 'default')
    .addHelpText(
      'after',
      '\nExamples:\n  berth inspect guestbook\n  berth inspect guestbook_web.1 --output json | jq .container.State\n  berth inspect --type node host-2',
    )
    .action(async (name: string, options: InspectOptions, command: Command) =>
      withSession(command, async (session, terminal) => {
        const wanted = options.type === undefined ? kinds : [options.type];
        const found: { kind: Kind; value: object }[] = [];
        for (const kind of wanted) {
          const value = await inspectors[kind](session, name, options.namespace);
          if (value !== undefined) found.push({ kind, value });
        }
        const [first, second] = found;
        if (first === undefined) {
          throw new CliError(
            exitCode.badInput,
            `there is no ${wanted.join(', ').replace(/, (\w+)$/u, ' or $1')} ${JSON.stringify(name)}`,
            'see `berth stacks`, `berth ps` and `berth node ls`',
          );
        }
        if (second !== undefined) {
          const each = found.map(({ kind }) => kind).join(', ');
          throw new CliError(exitCode.badInput, `${JSON.stringify(name)} may be: ${each}`, 'say which with --type');
        }
        terminal.result({ kind: first.kind, ...first.value }, fieldsText);
      }),
    );
}

const inspectors: Readonly<Record<Kind, Inspect>> = {
  stack: async ({ control }, name, namespace) => {
    const { stacks } = await control.listStacks({ namespace });
    const stack = stacks.find((each) => each.name === name);
    if (!stack) return undefined;
    const request = { namespace, stack: name };
    const [{ services }, { tasks }] = await Promise.all([control.listServices(request), control.listTasks(request)]);
    return {
      ...(Stack.toJSON(stack) as object),
      services: services.map((each) => Service.toJSON(each)),
      tasks: tasks.map((each) => TaskView.toJSON(each)),
    };
  },
  service: async ({ control }, name, namespace) => {
    const { services } = await control.listServices({ namespace, stack: '' });
    const service = services.find((each) => `${each.stack}_${each.name}` === name);
    if (!service) return undefined;
    const { tasks } = await control.listTasks({ namespace, stack: service.stack, service: service.name, all: true });
    return { ...(Service.toJSON(service) as object), tasks: tasks.map((each) => TaskView.toJSON(each)) };
  },
  task: async ({ control }, name) => {
    const answer = await unlessNotFound(() => control.inspectTask({ task: name }));
    if (!answer) return undefined;
    const { task, hostname, containerJson, notice } = answer;
    const container = containerJson === '' ? undefined : (JSON.parse(containerJson) as object);
    return { ...(task ? (TaskView.toJSON(task) as object) : {}), hostname, notice: notice || undefined, container };
  },
  node: async (session, name) => {
    const { nodes } = await session.control.listNodes({});
    const node = await unlessNotFound(async () => findNode(nodes, name, true));
    return node && (await inspectNode(session, node)).json;
  },
  network: async ({ network }, name, namespace) => {
    const { networks } = await network.listNetworks({});
    const found = networks.find((each) => each.id === name || (each.namespace === namespace && each.fullName === name));
    return found && (Network.toJSON(found) as object);
  },
};

async function unlessNotFound<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (isBerthError(error, 'NotFound')) return undefined;
    throw error;
  }
}
