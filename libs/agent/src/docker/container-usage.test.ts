import { expect, it } from 'vitest';
import { usageOf } from './container-usage.ts';

it('takes the page cache off, by the name of either cgroup version, and sums up networks and disks', () => {
  const common = {
    cpu_stats: { cpu_usage: { total_usage: 5 } },
    networks: { eth0: { rx_bytes: 1, tx_bytes: 2 }, eth1: { rx_bytes: 10, tx_bytes: 20 } },
    blkio_stats: {
      io_service_bytes_recursive: [
        { op: 'Read', value: 3 },
        { op: 'read', value: 4 },
        { op: 'Write', value: 5 },
        { op: 'Total', value: 99 },
      ],
    },
    pids_stats: { current: 7 },
  };
  const expected = {
    cpuNs: 5,
    memoryBytes: 60,
    memoryLimitBytes: 1000,
    networkReceivedBytes: 11,
    networkSentBytes: 22,
    diskReadBytes: 7,
    diskWrittenBytes: 5,
    processes: 7,
  };
  const memory = { usage: 100, limit: 1000 };
  expect(
    usageOf({ ...common, memory_stats: { ...memory, stats: { total_inactive_file: 40, inactive_file: 1 } } }),
  ).toEqual(expected);
  expect(usageOf({ ...common, memory_stats: { ...memory, stats: { inactive_file: 40 } } })).toEqual(expected);
});

it('of a container that does not run, or has no network, is zero', () => {
  expect(Object.values(usageOf({ blkio_stats: { io_service_bytes_recursive: null } }))).toEqual(Array(8).fill(0));
});
