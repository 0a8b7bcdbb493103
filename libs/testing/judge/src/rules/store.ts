import type { ServiceSpec, StackSpec } from '@berth/contracts/workload';
import { DesiredState } from '@berth/contracts/workload';
import type { HostView, StoreView, Violation } from '../observation.ts';
import { berth, describe, isApplication } from '../observation.ts';
import type { PromisedService, PromisedStack } from '../promise.ts';
import { runTogether } from '../promise.ts';

/** Every acknowledged spec is in the store as acknowledged, nothing that was taken back is, and tasks agree with Docker. */
export function judgeStore(
  store: StoreView,
  promised: readonly PromisedStack[],
  hosts: readonly HostView[],
): Violation[] {
  return [
    ...promised.flatMap((stack) => judgeStack(store, stack)),
    ...judgeUnasked(store, promised),
    ...judgeSlots(store),
    ...judgeContainers(store, hosts),
  ];
}

function judgeStack(store: StoreView, promised: PromisedStack): Violation[] {
  const violation = (what: string): Violation => ({ rule: 'spec', where: promised.name, what });
  const stack = store.stacks.find(({ name, static: isStatic }) => name === promised.name && !isStatic);
  if (!stack) return [violation('acknowledged, but not in the store')];
  if (stack.removing) return [violation('is being removed, which nobody asked for')];
  const spec = store.specs.get(stack.id);
  if (!spec) return [violation('its record is in the store, its spec is not')];
  return differences(spec, promised).map(violation);
}

function differences(spec: StackSpec, promised: PromisedStack): string[] {
  const stored = new Map(spec.services.map((service) => [service.name, service]));
  const names = new Set(promised.services.map(({ name }) => name));
  return [
    ...promised.services.flatMap((service) => {
      const found = stored.get(service.name);
      if (!found) return [`service ${service.name} is not in the stored spec`];
      const differs = serviceDifference(found, service);
      return differs ? [`service ${service.name}: ${differs}`] : [];
    }),
    ...[...stored.keys()].filter((name) => !names.has(name)).map((name) => `service ${name} was not asked for`),
  ];
}

function serviceDifference(found: ServiceSpec, promised: PromisedService): string | undefined {
  const mode = found.mode?.$case === 'global' ? 'everywhere' : (found.mode?.value.replicas ?? 0);
  if (mode !== promised.wanted) return `${mode} stored, ${promised.wanted} acknowledged`;
  const { image = '', command, environment = {} } = found.container ?? {};
  if (image !== promised.image) return `image ${image} stored, ${promised.image} acknowledged`;
  const words = command?.values.map((word) => word.replaceAll('$', () => '$$'));
  const stored = words && runTogether(words);
  if (stored !== promised.command) return `command ${stored} stored, ${promised.command} acknowledged`;
  const wrong = Object.entries(promised.environment).find(([key, value]) => environment[key] !== value);
  return wrong && `environment ${wrong[0]}=${environment[wrong[0]]} stored, ${wrong[1]} acknowledged`;
}

function judgeUnasked(store: StoreView, promised: readonly PromisedStack[]): Violation[] {
  const names = new Set(promised.map(({ name }) => name));
  return store.stacks
    .filter(({ name, static: isStatic }) => !isStatic && !names.has(name))
    .map(({ name, removing }) => ({
      rule: 'spec',
      where: name,
      what: removing ? 'its removal has not ended' : 'is in the store, and nobody asked for it',
    }));
}

/** A slot has one task that is to run; on the way from one to the next there may be two, but not when all is settled. */
function judgeSlots({ tasks }: StoreView): Violation[] {
  const wanted = tasks.filter(
    ({ desired, static: isStatic }) => desired === DesiredState.DESIRED_STATE_RUNNING && !isStatic,
  );
  const place = ({ stack, service, slot, nodeId }: (typeof wanted)[number]): string =>
    slot > 0 ? `${stack}/${service} slot ${slot}` : `${stack}/${service} on node ${nodeId}`;
  return [...Map.groupBy(wanted, place)]
    .filter(([, twins]) => twins.length > 1)
    .map(([where, twins]) => ({
      rule: 'twice',
      where,
      what: `${twins.length} tasks are to run by the store: ${twins.map(({ id }) => id.slice(0, 8)).join(', ')}`,
    }));
}

/** What runs is what the store wants to run, and where; and by its slots none runs twice. */
function judgeContainers({ tasks }: StoreView, hosts: readonly HostView[]): Violation[] {
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const running = hosts
    .flatMap(({ containers }) => containers)
    .filter((container) => container.running && isApplication(container));
  const orphans = running.flatMap((container): Violation[] => {
    const task = byId.get(container.labels[berth.task] ?? '');
    const orphan = (what: string): Violation[] => [
      { rule: 'orphan', where: container.host, what: `${describe(container)} ${what}` },
    ];
    if (!task) return orphan('runs, and the store knows no such task');
    if (task.desired !== DesiredState.DESIRED_STATE_RUNNING) return orphan('runs, and the store wants it stopped');
    if (task.nodeId !== container.labels[berth.node]) return orphan('runs, and the store has it on another node');
    return [];
  });
  const slots = Map.groupBy(running, (container) => {
    const task = byId.get(container.labels[berth.task] ?? '');
    return task && task.slot > 0 ? `${task.stack}/${task.service} slot ${task.slot}` : undefined;
  });
  const twice = [...slots].flatMap(([where, twins]): Violation[] =>
    where !== undefined && twins.length > 1
      ? [{ rule: 'twice', where, what: `by labels: ${twins.map(describe).join(' and ')}` }]
      : [],
  );
  return [...orphans, ...twice];
}
