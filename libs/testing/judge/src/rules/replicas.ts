import type { ContainerView, HostView, Violation } from '../observation.ts';
import { berth, describe, isApplication, isUp } from '../observation.ts';
import type { PromisedService, PromisedStack } from '../promise.ts';
import { hostsFor, runTogether } from '../promise.ts';

export interface ReplicasInput {
  readonly hosts: readonly HostView[];
  readonly promised: readonly PromisedStack[];
  /** Hosts on which tasks may run now: on, joined, active. */
  readonly eligible: readonly string[];
  /** `stack/service` → tasks that can run now, where the test knows that not all can (a volume's host is off). */
  readonly except?: Readonly<Record<string, number>>;
}

/** Exactly what was promised runs, by Docker's own word: none missing, none too many, none twice, none orphaned. */
export function judgeReplicas(input: ReplicasInput): Violation[] {
  const containers = input.hosts.flatMap((host) => host.containers).filter(isApplication);
  const claimed = new Set<ContainerView>();
  const violations: Violation[] = [];
  for (const stack of input.promised) {
    for (const service of stack.services) {
      const own = containers.filter(
        ({ labels }) => labels[berth.stack] === stack.name && labels[berth.service] === service.name,
      );
      for (const container of own) claimed.add(container);
      violations.push(...judgeService(stack, service, own, input));
    }
  }
  for (const container of containers) {
    if (!claimed.has(container)) {
      violations.push({ rule: 'orphan', where: container.host, what: `nobody asked for ${describe(container)}` });
    }
  }
  return [...violations, ...judgeTasks(containers)];
}

function judgeService(
  stack: PromisedStack,
  service: PromisedService,
  own: readonly ContainerView[],
  { eligible, except = {} }: ReplicasInput,
): Violation[] {
  const where = `${stack.name}/${service.name}`;
  const hosts = hostsFor(service, eligible);
  const running = own.filter(({ running: runs }) => runs);
  const up = running.filter(isUp);
  const wanted = except[where] ?? (service.wanted === 'everywhere' ? hosts.length : service.wanted);
  const seen = running.map((container) => `${container.hostname} on ${container.host}`).join(', ');
  const violations: Violation[] = [];
  const add = (rule: Violation['rule'], what: string): void => {
    violations.push({ rule, where, what });
  };
  if (up.length < wanted) add('missing', `${up.length} of ${wanted} run and are healthy: ${seen || 'none runs'}`);
  if (running.length > wanted) add('surplus', `${running.length} run, ${wanted} are wanted: ${seen}`);
  for (const container of running) {
    if (!hosts.includes(container.host)) add('orphan', `${describe(container)} is where it must not be`);
    const differs = staleness(container, service);
    if (differs) add('stale', `${describe(container)}: ${differs}`);
  }
  if (service.wanted === 'everywhere') {
    for (const host of hosts) {
      const here = running.filter((container) => container.host === host);
      if (here.length > 1) add('twice', `${here.length} run on ${host}`);
      if (here.length === 0 && except[where] === undefined) add('missing', `none on ${host}`);
    }
  } else {
    for (const [slot, twins] of Map.groupBy(running, slotOf)) {
      if (slot !== undefined && twins.length > 1) {
        add('twice', `slot ${slot} by host names: ${twins.map(describe).join(' and ')}`);
      }
    }
  }
  return violations;
}

/** Slot in a host name that Berth made, `<service>-<slot>-<6 of the task's id>`; undefined for one of the file's. */
export function slotOf(container: ContainerView): number | undefined {
  const task = container.labels[berth.task] ?? '';
  const match = /-(\d+)-([0-9a-z]{6})$/u.exec(container.hostname);
  return match && task.toLowerCase().startsWith(match[2] ?? '') ? Number(match[1]) : undefined;
}

/** One task, one running container. */
function judgeTasks(containers: readonly ContainerView[]): Violation[] {
  const running = containers.filter((container) => container.running);
  return [...Map.groupBy(running, ({ labels }) => labels[berth.task] ?? '')]
    .filter(([, twins]) => twins.length > 1)
    .map(([task, twins]) => ({
      rule: 'twice',
      where: twins.map(({ host }) => host).join(', '),
      what: `task ${task} by labels: ${twins.map(describe).join(' and ')}`,
    }));
}

function staleness(container: ContainerView, service: PromisedService): string | undefined {
  if (container.image !== service.image) return `image ${container.image}, acknowledged ${service.image}`;
  if (service.command !== undefined && runTogetherOf(container) !== service.command) {
    return `command ${container.command.join(' ')}, acknowledged ${service.command}`;
  }
  const wrong = Object.entries(service.environment).find(([key, value]) => container.environment[key] !== value);
  return wrong && `environment ${wrong[0]}=${container.environment[wrong[0]]}, acknowledged ${wrong[1]}`;
}

/** An engine's words hold no variables: what looks like one is the program's own. */
function runTogetherOf({ command }: ContainerView): string {
  return runTogether(command.map((word) => word.replaceAll('$', () => '$$')));
}
