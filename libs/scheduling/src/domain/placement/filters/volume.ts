import { NodeStatus } from '@berth/contracts/registry';
import { Availability } from '@berth/contracts/scheduler';
import type { Candidate, Demand, Filter } from '../types.ts';

/** The node where the task's named volumes live. */
export const volume: Filter = {
  name: 'volume',
  lack: 'without the volume',
  admits: (demand, { node }) =>
    demand.volumesDeparting?.has(node.id) !== true &&
    [...demand.volumeNodes.values()].every((home) => home === node.id),
  detail: (demand, refused, all) => {
    const departing = refused.filter(({ node }) => demand.volumesDeparting?.has(node.id));
    const names = departing.map(({ node }) => node.hostname).join(', ');
    const still = names === '' ? [] : [`the old volume of that name is still being deleted on ${names}`];
    return [volumeHomes(demand, all), ...still].filter((text) => text !== '').join('; ');
  },
};

/** Where the task's named volumes live, and what is with those nodes: "volume shop_data lives on node h2 (lost)". */
export function volumeHomes({ volumeNodes }: Demand, all: readonly Candidate[]): string {
  return [...volumeNodes]
    .map(([name, home]) => {
      const candidate = all.find(({ node }) => node.id === home);
      const state = candidate ? stateOf(candidate) : 'left; `down --volumes` forgets the volume';
      return `volume ${name} lives on node ${candidate?.node.hostname ?? home}${state === '' ? '' : ` (${state})`}`;
    })
    .join(', ');
}

function stateOf({ availability, node }: Candidate): string {
  if (node.status === NodeStatus.NODE_STATUS_LOST) return 'lost';
  if (node.status === NodeStatus.NODE_STATUS_SUSPECT) return 'suspect';
  if (node.status !== NodeStatus.NODE_STATUS_READY) return 'never heard of';
  if (!node.dispatchSynced) return 'not listening';
  if (availability === Availability.AVAILABILITY_DRAIN) return 'drained';
  return availability === Availability.AVAILABILITY_PAUSE ? 'paused' : '';
}
