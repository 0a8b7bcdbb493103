import type { Service, TaskView } from '@berth/contracts/scheduler';
import { UpdateState } from '@berth/contracts/scheduler';
import type { PortSpec } from '@berth/contracts/workload';
import { Health, TaskState } from '@berth/contracts/workload';
import { effectiveState, formatPort, stateName, taskName } from '@berth/workload';
import type { Command } from 'commander';
import { withSession } from '../command.ts';
import type { HostnameOf } from '../hostnames.ts';
import { hostnames } from '../hostnames.ts';
import type { Terminal } from '../terminal/output.ts';
import { ageText, table } from '../terminal/table.ts';

export function addListCommands(program: Command): void {
  program
    .command('ps')
    .description('list tasks')
    .argument('[stack]', 'only this stack')
    .option('-a, --all', 'ended tasks too', false)
    .option('-n, --namespace <name>', 'only this namespace', '')
    .option('-s, --service <name>', 'only this service', '')
    .addHelpText('after', '\nExamples:\n  berth ps\n  berth ps guestbook --all\n  berth ps --output json | jq .')
    .action(async (stack: string | undefined, options: PsOptions, command: Command) =>
      withSession(command, async (session, terminal) => {
        const request = {
          namespace: options.namespace,
          stack: stack ?? '',
          service: options.service,
          all: options.all,
        };
        const [{ tasks }, hostnameOf] = await Promise.all([session.control.listTasks(request), hostnames(session)]);
        terminal.result(tasks, (list) => taskTable(list, terminal, hostnameOf));
      }),
    );

  program
    .command('services')
    .description('list services')
    .argument('[stack]', 'only this stack')
    .option('-n, --namespace <name>', 'only this namespace', '')
    .addHelpText('after', '\nExamples:\n  berth services\n  berth services guestbook')
    .action(async (stack: string | undefined, options: { namespace: string }, command: Command) =>
      withSession(command, async ({ control }, terminal) => {
        const { services } = await control.listServices({ namespace: options.namespace, stack: stack ?? '' });
        terminal.result(services, (list) => serviceTable(list, terminal));
      }),
    );

  program
    .command('stacks')
    .description('list stacks')
    .option('-n, --namespace <name>', 'only this namespace', '')
    .action(async (options: { namespace: string }, command: Command) =>
      withSession(command, async ({ control }, terminal) => {
        const { stacks } = await control.listStacks({ namespace: options.namespace });
        terminal.result(stacks, (list) =>
          table(
            ['NAMESPACE', 'STACK', 'VERSION', 'STATE'],
            list.map((stack) => [
              stack.namespace,
              stack.name,
              stack.static ? '-' : String(stack.version),
              stack.removing ? 'being removed' : stack.static ? 'control plane' : 'active',
            ]),
          ),
        );
      }),
    );
}

interface PsOptions {
  readonly all: boolean;
  readonly namespace: string;
  readonly service: string;
}

export function taskTable(tasks: readonly TaskView[], terminal: Terminal, hostnameOf: HostnameOf): string {
  const nowMs = Date.now();
  return table(
    ['TASK', 'STACK', 'NODE', 'STATE', 'RUN', 'AGE', 'PORTS', 'IMAGE', 'MESSAGE'],
    tasks.map((view) => {
      const { task, status } = view;
      return [
        shownName(view, hostnameOf),
        task?.stack ?? '',
        task?.nodeId ? hostnameOf(task.nodeId) : '-',
        stateText(view, terminal),
        String(status?.run ?? 0),
        task && task.createdAtMs > 0 ? ageText(nowMs - task.createdAtMs) : '-',
        portsText(status?.ports ?? []),
        task?.image ?? '',
        status?.message || task?.pending?.summary || '',
      ];
    }),
  );
}

/** State with health, coloured. */
export function stateText(view: TaskView, terminal: Terminal): string {
  const { colors } = terminal;
  const state = view.task ? effectiveState(view.task, view.status) : TaskState.TASK_STATE_UNSPECIFIED;
  const name = stateName(state);
  switch (state) {
    case TaskState.TASK_STATE_RUNNING:
      return view.status?.health === Health.HEALTH_UNHEALTHY
        ? colors.red('running (unhealthy)')
        : colors.green(view.status?.health === Health.HEALTH_HEALTHY ? 'running (healthy)' : name);
    case TaskState.TASK_STATE_COMPLETE:
      return colors.green(name);
    case TaskState.TASK_STATE_FAILED:
    case TaskState.TASK_STATE_REJECTED:
    case TaskState.TASK_STATE_ORPHANED:
      return colors.red(name);
    case TaskState.TASK_STATE_SHUTDOWN:
      return colors.dim(name);
    default:
      return colors.yellow(name);
  }
}

/** Name of a task for show, as commands take it after its stack's; of a global service's task with its host's name. */
export function shownName({ task }: TaskView, hostnameOf: HostnameOf): string {
  if (!task) return '';
  return task.slot === 0 && task.nodeId === '' ? `${task.service}.-` : taskName(task, hostnameOf(task.nodeId));
}

export function portsText(ports: readonly PortSpec[]): string {
  return ports.map(formatPort).join(', ');
}

function serviceTable(services: readonly Service[], terminal: Terminal): string {
  const { colors } = terminal;
  return table(
    ['SERVICE', 'STACK', 'MODE', 'TASKS', 'VERSION', 'IMAGE', 'MESSAGE'],
    services.map((service) => {
      const tasks = `${service.running}/${service.wanted}`;
      const update = {
        [UpdateState.UPDATE_STATE_UPDATING]: 'updating',
        [UpdateState.UPDATE_STATE_HALTED]: 'update halted',
      }[service.update as number];
      return [
        service.name,
        service.stack,
        service.mode,
        service.running >= service.wanted ? colors.green(tasks) : colors.yellow(tasks),
        String(service.specVersion),
        service.image,
        [update, service.message].filter(Boolean).join(': '),
      ];
    }),
  );
}
