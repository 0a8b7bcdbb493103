import type { Filter } from '../types.ts';
import { availability } from './availability.ts';
import { bindSource } from './bind-source.ts';
import { constraint } from './constraint.ts';
import { hostPort } from './host-port.ts';
import { nodeReady } from './node-ready.ts';
import { cpu, memory } from './resources.ts';
import { volume } from './volume.ts';

/** All filters, in the order in which they are asked: a node counts for the first that leaves it out. */
export const filters: readonly Filter[] = [
  nodeReady,
  availability,
  constraint,
  bindSource,
  volume,
  cpu,
  memory,
  hostPort,
];
