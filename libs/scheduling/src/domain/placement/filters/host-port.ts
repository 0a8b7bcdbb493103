import { formatPort } from '@berth/workload';
import { portsConflict } from '../ports.ts';
import type { Filter } from '../types.ts';

/** Nodes where the task's host ports are free. */
export const hostPort: Filter = {
  name: 'host-port',
  lack: 'with the host port taken',
  admits: (demand, { usage }) =>
    !demand.hostPorts.some((wanted) => usage.ports.some((held) => portsConflict(wanted, held))),
  detail: (demand, refused) =>
    demand.hostPorts
      .map((wanted) => ({
        wanted,
        nodes: refused.filter(({ usage }) => usage.ports.some((held) => portsConflict(wanted, held))).length,
      }))
      .filter(({ nodes }) => nodes > 0)
      .map(({ wanted, nodes }) => `${formatPort(wanted)} is taken on ${nodes}`)
      .join(', '),
};
