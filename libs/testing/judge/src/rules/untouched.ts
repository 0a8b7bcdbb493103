import type { ContainerView, HostView, Violation } from '../observation.ts';
import { berth, describe, isApplication } from '../observation.ts';

/** Running containers of applications at one moment. */
export type Snapshot = readonly ContainerView[];

export function snapshotOf(hosts: readonly HostView[]): Snapshot {
  return hosts.flatMap(({ containers }) => containers).filter((each) => each.running && isApplication(each));
}

/** Every container of the snapshot still runs, as the same start of the same container. */
export function judgeUntouched(before: Snapshot, hosts: readonly HostView[]): Violation[] {
  const now = new Map(hosts.flatMap(({ containers }) => containers).map((container) => [container.id, container]));
  return before.flatMap((container): Violation[] => {
    const found = now.get(container.id);
    const violation = (what: string): Violation[] => [
      {
        rule: 'touched',
        where: `${container.labels[berth.stack]}/${container.labels[berth.service]}`,
        what: `${describe(container)} ${what}`,
      },
    ];
    if (!found) return violation('is gone');
    if (!found.running) return violation('no longer runs');
    if (found.startedAt !== container.startedAt || found.restarts !== container.restarts) {
      return violation(`was restarted: started ${container.startedAt}, now ${found.startedAt}`);
    }
    return [];
  });
}
