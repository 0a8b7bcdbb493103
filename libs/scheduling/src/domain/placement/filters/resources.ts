import type { Candidate, Filter } from '../types.ts';

/** Nodes with enough cpu left. */
export const cpu: Filter = {
  name: 'cpu',
  lack: 'short of cpu',
  admits: (demand, candidate) => demand.resources.cpuMillis <= freeCpu(candidate),
  detail: (demand, refused) =>
    `needs ${cores(demand.resources.cpuMillis)} cpu, most free ${cores(Math.max(...refused.map(freeCpu)))}`,
};

/** Nodes with enough memory left. */
export const memory: Filter = {
  name: 'memory',
  lack: 'short of memory',
  admits: (demand, candidate) => demand.resources.memoryBytes <= freeMemory(candidate),
  detail: (demand, refused) =>
    `needs ${mebibytes(demand.resources.memoryBytes)}, most free ${mebibytes(Math.max(...refused.map(freeMemory)))}`,
};

function freeCpu({ node, usage }: Candidate): number {
  return (node.resources?.cpuMillis ?? 0) - usage.cpuMillis;
}

function freeMemory({ node, usage }: Candidate): number {
  return (node.resources?.memoryBytes ?? 0) - usage.memoryBytes;
}

function cores(millis: number): string {
  return String(Math.max(0, millis) / 1000);
}

function mebibytes(bytes: number): string {
  return `${Math.floor(Math.max(0, bytes) / (1024 * 1024))} MiB`;
}
