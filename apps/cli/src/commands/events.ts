import type { ChangeEvent } from '@berth/changes';
import { decodeChangeEvent, encodeChangeEvent } from '@berth/changes';
import { NodeStatus } from '@berth/contracts/registry';
import { Availability } from '@berth/contracts/scheduler';
import { connectNats } from '@berth/events-nats';
import type { EventBus } from '@berth/kernel';
import { dnsNameOf, isBerthError } from '@berth/kernel';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import { effectiveState, eventOwners, stateName } from '@berth/workload';
import type { Command } from 'commander';
import { interruptSignal, withSession } from '../command.ts';
import type { AnyChange, StackScopes } from '../event-filter.ts';
import { changeKinds, changesOf, EventFilter } from '../event-filter.ts';
import { CliError, exitCode } from '../exit-code.ts';
import type { Session } from '../session.ts';
import { addressesOf } from '../session.ts';
import type { Terminal } from '../terminal/output.ts';
import { shownName } from './list.ts';

const connectTimeoutMs = 10_000;

interface EventsOptions {
  readonly follow: boolean;
  readonly stack?: string;
  readonly kind?: readonly string[];
  readonly count?: string;
}

export function addEventsCommand(program: Command): void {
  program
    .command('events')
    .description('follow what changes in the cluster, as it happens')
    .option('-f, --follow', 'go on with what comes', false)
    .option('-s, --stack <name>', 'only of this stack (name or id) and its networks')
    .option('-k, --kind <kind>', `only of this kind; may be repeated (${changeKinds.join(', ')})`, repeated)
    .option('-n, --count <number>', 'end after so many events')
    .addHelpText(
      'after',
      '\nExamples:\n  berth events -f\n  berth events -f --stack guestbook --kind task --kind endpoint\n' +
        '  berth events -f --output json | jq .data.changes\n\nWhat comes while nothing listens is missed here; a durable consumer misses nothing: docs/events.md',
    )
    .action(async (options: EventsOptions, command: Command) => {
      const countMax = checked(options);
      await withSession(command, (session, terminal) => follow(session, terminal, options, countMax));
    });
}

function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...value.split(',')];
}

function checked(options: EventsOptions): number {
  if (!options.follow && options.count === undefined) {
    throw new CliError(exitCode.badInput, 'events are shown as they happen', 'add -f, or --count to end after some');
  }
  const unknown = options.kind?.find((kind) => !changeKinds.includes(kind));
  if (unknown !== undefined) {
    throw new CliError(exitCode.badInput, `there is no kind ${unknown}`, `use one of: ${changeKinds.join(', ')}`);
  }
  const count = options.count === undefined ? Number.POSITIVE_INFINITY : Number(options.count);
  if (!(count > 0)) throw new CliError(exitCode.badInput, `--count ${options.count} is no number of events`);
  return count;
}

async function follow(session: Session, terminal: Terminal, options: EventsOptions, countMax: number): Promise<void> {
  const servers = addressesOf(session.members, 'nats');
  if (servers.length === 0) throw new CliError(exitCode.unreachable, 'the cluster lists no NATS server');
  const interrupted = interruptSignal();
  const enough = new AbortController();
  const signal = AbortSignal.any([interrupted, enough.signal]);
  const filter = new EventFilter(
    { stack: options.stack, kinds: options.kind ?? [] },
    options.stack === undefined ? undefined : await scopesOf(session, options.stack),
  );
  const bus = connectNats({
    servers: () => servers,
    tls: () => session.credentials,
    serverName: dnsNameOf({ role: 'service', name: 'nats' }),
    name: 'berth events',
    clock: new SystemClock(),
    rng: new SystemRng(),
    logger: silentLogger,
  });
  try {
    const messages = bus.subscribe('berth.*.changes.>', { signal });
    await untilConnected(bus, servers, interrupted);
    bus.onConnection((connected) => {
      if (!signal.aborted) terminal.note(connected ? 'connected again' : 'connection lost: events may be missed here');
    });
    terminal.note('following events; Ctrl-C ends it');
    let count = 0;
    for await (const { data } of messages) {
      const event = decodeChangeEvent(data);
      const changes = filter.select(changesOf(event));
      if (changes.length === 0) continue;
      show(event, changes, terminal);
      count += 1;
      if (count >= countMax) enough.abort();
    }
  } finally {
    await bus.close();
  }
}

async function untilConnected(bus: EventBus, servers: readonly string[], signal: AbortSignal): Promise<void> {
  if (bus.connected) return;
  const connected = await new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => resolve(false), connectTimeoutMs);
    const end = bus.onConnection(() => done());
    const done = (): void => {
      clearTimeout(timer);
      end();
      resolve(true);
    };
    signal.addEventListener('abort', done, { once: true });
  });
  if (connected) return;
  throw new CliError(
    exitCode.unreachable,
    `NATS at ${servers.join(', ')} cannot be reached, or does not know this certificate`,
    'a new certificate is known after a second or two; `berth ps berth` shows whether NATS runs',
  );
}

/** What the stack's name stands for now; nothing for one that is yet to come. A subscriber may not ask: it learns. */
async function scopesOf({ control, network }: Session, stack: string): Promise<StackScopes> {
  try {
    const { stacks } = await control.listStacks({ namespace: '' });
    const stackIds = stacks.filter(({ id, name }) => id === stack || name === stack).map(({ id }) => id);
    const { networks } = await network.listNetworks({});
    return { stackIds, networkIds: networks.filter(({ stackId }) => stackIds.includes(stackId)).map(({ id }) => id) };
  } catch (error) {
    if (!isBerthError(error, 'PermissionDenied')) throw error;
    return { stackIds: [], networkIds: [] };
  }
}

function show(event: ChangeEvent, changes: readonly AnyChange[], terminal: Terminal): void {
  if (terminal.format === 'json') {
    const keys = new Set(changes.map(({ key }) => key));
    const json = event.changes.filter((change) => keys.has((change as { key: string }).key));
    // The CloudEvent as it came, with the changes that were asked for.
    terminal.line(JSON.parse(new TextDecoder().decode(encodeChangeEvent({ ...event, changes: json }))), '');
    return;
  }
  for (const change of changes) terminal.line(undefined, changeText(event, change, terminal));
}

function changeText(event: ChangeEvent, change: AnyChange, { colors }: Terminal): string {
  const service = eventOwners.find(({ owner }) => owner === event.owner)?.service ?? event.owner;
  const what = change.resource === undefined ? colors.red('gone') : summaryOf(change.resource);
  return `${colors.dim(`${service} ${event.revision}`)} ${colors.cyan(change.key)} ${what}`.trimEnd();
}

/** A subscriber may not ask for host names. */
const shortId = (nodeId: string): string => nodeId.slice(0, 8);

function summaryOf(resource: NonNullable<AnyChange['resource']>): string {
  switch (resource.$case) {
    case 'stack':
      return `${resource.value.name} version ${resource.value.version}${resource.value.removing ? ', being removed' : ''}`;
    case 'service':
      return `${resource.value.stack}_${resource.value.name} ${resource.value.running}/${resource.value.wanted} running`;
    case 'task': {
      const { task, status } = resource.value;
      return task
        ? `${task.stack}_${shownName(resource.value, shortId)} ${stateName(effectiveState(task, status))}`
        : '';
    }
    case 'availability':
      return wordOf(Availability, resource.value.availability, 'AVAILABILITY_');
    case 'node':
      return `${resource.value.hostname} ${wordOf(NodeStatus, resource.value.status, 'NODE_STATUS_')}`;
    case 'endpoint':
      return `${resource.value.taskName} ${resource.value.ip} ${resource.value.healthy ? 'healthy' : 'not healthy'}`;
    case 'member':
      return `${resource.value.identity} ${resource.value.address}`;
    case 'network':
      return `${resource.value.fullName} ${resource.value.ranges.join(' ')}${resource.value.deleting ? ', being removed' : ''}`;
    case 'lease':
      return `node ${resource.value.nodeId.slice(0, 8)}`;
    case 'revocation':
      return `${resource.value.identity} revoked`;
  }
}

/** `NODE_STATUS_READY` of an enum as `ready`. */
function wordOf(names: Readonly<Record<string, string | number>>, value: number, prefix: string): string {
  const name = Object.keys(names).find((key) => names[key] === value) ?? String(value);
  return name.replace(prefix, '').toLowerCase();
}
