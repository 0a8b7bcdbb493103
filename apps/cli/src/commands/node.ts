import { setTimeout as sleep } from 'node:timers/promises';
import type { Brake, Node } from '@berth/contracts/registry';
import type { NodeView, TaskView } from '@berth/contracts/scheduler';
import { Availability, TaskView as TaskViewMessage } from '@berth/contracts/scheduler';
import type { BerthError } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import { findNode } from '@berth/workload';
import type { Command } from 'commander';
import { interruptSignal, withSession } from '../command.ts';
import { durationMs } from '../duration.ts';
import { CliError, exitCode } from '../exit-code.ts';
import { hostnames } from '../hostnames.ts';
import { labelChanges } from '../node-labels.ts';
import type { DrainProgress } from '../node-state.ts';
import { drainProgress } from '../node-state.ts';
import type { Session } from '../session.ts';
import { liveArea } from '../terminal/live.ts';
import type { Terminal } from '../terminal/output.ts';
import { bytesText, table } from '../terminal/table.ts';
import { taskTable } from './list.ts';

/** How often a drain looks at what is left. */
const drainLookMs = 500;

interface DrainOptions {
  readonly timeout: string;
  readonly detach: boolean;
}

export function addNodeCommands(program: Command): void {
  const node = program.command('node').description('hosts of the cluster');
  node
    .command('ls')
    .description('list nodes')
    .addHelpText('after', '\nExamples:\n  berth node ls\n  berth node ls --output json')
    .action(async (_options: object, command: Command) => withSession(command, list));

  node
    .command('inspect')
    .description('show a node: resources, labels, tasks, volumes')
    .argument('<node>', 'host name, id, or the beginning of an id')
    .addHelpText('after', '\nExamples:\n  berth node inspect host-2')
    .action(async (name: string, _options: object, command: Command) =>
      withSession(command, async (session, terminal) => {
        const { nodes } = await session.control.listNodes({});
        const found = await inspectNode(session, findNode(nodes, name, true));
        const hostnameOf = await hostnames(session);
        terminal.result(found.json, () => nodeText(found, terminal, hostnameOf));
      }),
    );

  node
    .command('drain')
    .description('move the tasks of a node elsewhere, replacements first, and wait until none is left')
    .argument('<node>', 'host name, id, or the beginning of an id')
    .option('-t, --timeout <duration>', 'how long to wait', '5m')
    .option('-d, --detach', 'do not wait', false)
    .addHelpText(
      'after',
      '\nExamples:\n  berth node drain host-2\n  berth node drain host-2 --timeout 1m\n\nExit codes: 0 nothing is left on it, 3 not in time, with the reasons; the drain goes on',
    )
    .action(async (name: string, options: DrainOptions, command: Command) =>
      withSession(command, (session, terminal) => drain(session, terminal, name, options)),
    );

  const set = (word: string, description: string, availability: Availability, said: string) =>
    node
      .command(word)
      .description(description)
      .argument('<node>', 'host name, id, or the beginning of an id')
      .addHelpText('after', `\nExamples:\n  berth node ${word} host-2`)
      .action(async (name: string, _options: object, command: Command) =>
        withSession(command, async ({ control }, terminal) => {
          const answer = await control.setAvailability({ node: name, availability });
          terminal.result(answer.node, () => `node ${answer.node?.hostname ?? name} ${said}`);
        }),
      );
  node
    .command('label')
    .description('set (k=v) and remove (k-) labels of a node, for placement constraints `node.labels.k == v`')
    .argument('<node>', 'host name, id, or the beginning of an id')
    .argument('<changes...>', 'k=v, or k- to remove k')
    .addHelpText('after', '\nExamples:\n  berth node label host-2 disk=ssd zone-')
    .action(async (name: string, changes: string[], _options: object, command: Command) => {
      const { set: setLabels, remove: removeLabels } = labelChanges(changes);
      await withSession(command, async (session, terminal) => {
        const answer = await session.node.updateNode({ nodeId: name, setLabels, removeLabels });
        terminal.result(
          answer.node,
          () => `node ${answer.node?.hostname ?? name}: ${labelsText(answer.node?.labels ?? {})}`,
        );
      });
    });

  node
    .command('rm')
    .description('take a node out of the cluster for good: its certificate ends, its host is cleared of Berth')
    .argument('<node>', 'host name, id, or the beginning of an id')
    .option('-f, --force', 'also with tasks on it (they go elsewhere), or when it is lost', false)
    .addHelpText(
      'after',
      '\nExamples:\n  berth node drain host-2 && berth node rm host-2\n  berth node rm --force host-3\n\nExit codes: 0 removed, 6 there are tasks on it',
    )
    .action(async (name: string, options: { force: boolean }, command: Command) =>
      withSession(command, (session, terminal) => remove(session, terminal, name, options.force)),
    );

  set('activate', 'let a node take tasks again', Availability.AVAILABILITY_ACTIVE, 'is active');
  set('pause', 'keep the tasks of a node, give it no new ones', Availability.AVAILABILITY_PAUSE, 'is paused');
}

async function list({ control, catalog }: Session, terminal: Terminal): Promise<void> {
  const [{ nodes }, { brake }] = await Promise.all([control.listNodes({}), catalog.listNodes({})]);
  if (brake) terminal.note(terminal.colors.red(brakeText(brake, nodes)));
  terminal.result(nodes, () => nodeTable(nodes, terminal));
}

/** Says that, and since when, nothing is moved. */
export function brakeText({ nodeIds, sinceMs }: Brake, nodes: readonly NodeView[]): string {
  const held = nodeIds.map((id) => nodes.find((node) => node.id === id)?.hostname ?? id.slice(0, 8));
  const since = new Date(sinceMs).toISOString();
  return `brake: ${held.join(', ')} silent at once since ${since}; nothing is moved until they return or you run \`berth cluster resume\``;
}

async function remove(session: Session, terminal: Terminal, name: string, force: boolean): Promise<void> {
  try {
    const { node } = await session.node.removeNode({ nodeId: name, force });
    terminal.result(node, () => `node ${node?.hostname ?? name} is removed`);
  } catch (error) {
    if (!isBerthError(error, 'FailedPrecondition', 'NODE_HAS_TASKS')) throw error;
    throw hasTasks(name, error);
  }
}

function hasTasks(name: string, cause: BerthError): CliError {
  const remedy = `\`berth node drain ${name}\` first, or --force`;
  return new CliError(exitCode.conflict, cause.message, remedy, { cause });
}

async function drain(session: Session, terminal: Terminal, name: string, options: DrainOptions): Promise<void> {
  const timeoutMs = durationMs(options.timeout);
  const interrupted = interruptSignal();
  const { node } = await session.control.setAvailability({ node: name, availability: Availability.AVAILABILITY_DRAIN });
  if (!node) throw new CliError(exitCode.internal, 'the scheduler answered without a node');
  if (options.detach) {
    terminal.result({ node, drained: false }, () => `node ${node.hostname} is being drained`);
    return;
  }
  const hostnameOf = await hostnames(session);
  const live = liveArea(terminal);
  const until = performance.now() + timeoutMs;
  let progress: DrainProgress;
  for (;;) {
    const { tasks } = await session.control.listTasks({});
    progress = drainProgress(tasks, node.id, hostnameOf);
    live.show(progress.left.map(({ name: task, why }) => `  ${task.padEnd(24)} ${why}`));
    if (progress.left.length === 0 || interrupted.aborted || performance.now() >= until) break;
    await sleep(drainLookMs, undefined, { signal: interrupted }).catch(() => undefined);
  }
  if (progress.left.length > 0) {
    const why = interrupted.aborted ? 'interrupted' : `after ${options.timeout}`;
    throw new CliError(
      exitCode.notConverged,
      [
        `node ${node.hostname} is not drained (${why}); left on it: ${progress.left.length}`,
        ...progress.left.map((each) => `  ${each.name}: ${each.why}`),
      ].join('\n'),
      'the drain goes on; run the command again to wait for it, or `berth node activate` to end it',
    );
  }
  for (const each of progress.pending) terminal.note(`${each.name} is pending: ${each.why}`);
  terminal.result({ node, drained: true, pending: progress.pending }, () =>
    terminal.colors.green(`node ${node.hostname} is drained`),
  );
}

export interface InspectedNode {
  readonly view: NodeView;
  readonly facts: Node | undefined;
  readonly tasks: readonly TaskView[];
  readonly json: object;
}

/** All there is to know of a node: the scheduler's part and the registry's. */
export async function inspectNode({ control, catalog }: Session, view: NodeView): Promise<InspectedNode> {
  const [listed, { tasks }] = await Promise.all([catalog.listNodes({}), control.listTasks({})]);
  const facts = listed.nodes.find(({ id }) => id === view.id);
  const own = tasks.filter(({ task }) => task?.nodeId === view.id);
  const engine = facts && {
    version: facts.engineVersion,
    os: facts.os,
    architecture: facts.architecture,
    labels: facts.engineLabels,
  };
  const { engineLabels: _labels, ...shown } = view;
  const json = {
    ...shown,
    availability: availabilityName(view.availability),
    engine,
    dispatchSynced: facts?.dispatchSynced ?? false,
    taskList: own.map((each) => TaskViewMessage.toJSON(each)),
  };
  return { view, facts, tasks: own, json };
}

export function nodeText(
  { view, facts, tasks }: InspectedNode,
  terminal: Terminal,
  hostnameOf: (nodeId: string) => string,
): string {
  const rows: [string, string][] = [
    ['node', view.id],
    ['host name', view.hostname],
    ['address', view.address],
    ['status', statusText(view, terminal)],
    ['availability', availabilityName(view.availability)],
    ['role', view.manager ? 'manager' : 'worker'],
    ['cpu', `${cpuText(view)} cores promised`],
    ['memory', `${memoryText(view)} promised`],
    ['labels', labelsText(view.labels)],
    ['engine', facts ? `${facts.engineVersion} (${facts.os}, ${facts.architecture})` : '-'],
    ['engine labels', labelsText(view.engineLabels)],
    ['agent', view.version],
    ['listens', facts?.dispatchSynced ? 'yes' : 'no: gets nothing new'],
    ['volumes', view.volumes.join(', ') || '-'],
  ];
  const fields = rows.map(([key, value]) => `${`${key}:`.padEnd(16)}${value}`).join('\n');
  return tasks.length === 0 ? fields : `${fields}\n\n${taskTable(tasks, terminal, hostnameOf)}`;
}

export function availabilityName(availability: Availability): 'active' | 'pause' | 'drain' {
  if (availability === Availability.AVAILABILITY_PAUSE) return 'pause';
  return availability === Availability.AVAILABILITY_DRAIN ? 'drain' : 'active';
}

function nodeTable(nodes: readonly NodeView[], terminal: Terminal): string {
  return table(
    ['NODE', 'HOSTNAME', 'STATUS', 'AVAILABILITY', 'ROLE', 'ADDRESS', 'TASKS', 'CPU', 'MEMORY', 'LABELS', 'VERSION'],
    nodes.map((node) => [
      node.id.slice(0, 8),
      node.hostname,
      statusText(node, terminal),
      availabilityText(node, terminal),
      node.manager ? 'manager' : 'worker',
      node.address,
      String(node.tasks),
      cpuText(node),
      memoryText(node),
      labelsText(node.labels),
      node.version,
    ]),
  );
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return pairs.sort().join(', ') || '-';
}

function statusText({ status }: NodeView, { colors }: Terminal): string {
  if (status === 'ready') return colors.green(status);
  return status === 'suspect' ? colors.yellow(status) : colors.red(status);
}

function availabilityText({ availability }: NodeView, { colors }: Terminal): string {
  const name = availabilityName(availability);
  return name === 'active' ? name : colors.yellow(name);
}

function cpuText({ reserved, total }: NodeView): string {
  return `${(reserved?.cpuMillis ?? 0) / 1000}/${(total?.cpuMillis ?? 0) / 1000}`;
}

function memoryText({ reserved, total }: NodeView): string {
  return `${bytesText(reserved?.memoryBytes ?? 0)}/${bytesText(total?.memoryBytes ?? 0)}`;
}
