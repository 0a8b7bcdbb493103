import { Availability } from '@berth/contracts/scheduler';
import type { Filter } from '../types.ts';

/** Nodes that an operator has not paused or drained. */
export const availability: Filter = {
  name: 'availability',
  lack: 'paused or drained',
  admits: (_demand, candidate) =>
    candidate.availability === Availability.AVAILABILITY_ACTIVE ||
    candidate.availability === Availability.AVAILABILITY_UNSPECIFIED,
  detail: (_demand, refused) => refused.map(({ node }) => node.hostname).join(', '),
};
