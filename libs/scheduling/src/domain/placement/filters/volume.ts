import type { Filter } from '../types.ts';

/** The node where the task's named volumes live. */
export const volume: Filter = {
  name: 'volume',
  lack: 'without the volume',
  admits: (demand, { node }) => [...demand.volumeNodes.values()].every((home) => home === node.id),
  detail: (demand) => [...demand.volumeNodes].map(([name, home]) => `volume ${name} lives on node ${home}`).join(', '),
};
