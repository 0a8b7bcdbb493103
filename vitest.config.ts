import { defineConfig } from 'vitest/config';

const hosts = (name: string) => `e2e/src/hosts/${name}.e2e.test.ts`;
const allHosts = hosts('**/*');
// What `npm test`, which says BERTH_SHORT, has time for: the heart of it. `npm run test:full -- hosts` runs all.
const shortHosts = ['network-hosts', 'power-off', 'drain', 'volume'].map(hosts);
const skip = ['**/node_modules/**', '**/dist/**'];

// Kinds of tests, one vitest project each. Run one with `vitest run --project unit [path]`.
export default defineConfig({
  test: {
    projects: [
      {
        // Beside the code, fast, no part outside the process.
        test: {
          name: 'unit',
          include: ['{apps,bench,deploy,examples,libs,tools}/**/*.test.ts'],
          exclude: [...skip, '**/*.{it,e2e}.test.ts'],
          // They leave nothing behind, so that modules are loaded once for all of them.
          isolate: false,
        },
      },
      {
        // Against real etcd, NATS, Docker and kernel.
        test: {
          name: 'it',
          include: ['{apps,deploy,examples,libs,tools}/**/*.it.test.ts'],
          exclude: skip,
          // Most of what they do is waiting, so more files run at a time than there are cores.
          maxWorkers: 3,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        // The whole of Berth on hosts of their own.
        test: {
          name: 'e2e',
          include: ['{apps,deploy,e2e,examples,libs}/**/*.e2e.test.ts'],
          exclude: [...skip, allHosts],
          maxWorkers: 2,
          // One process for many files: in each, those that leave a cluster as they found it share one.
          isolate: false,
          testTimeout: 300_000,
          hookTimeout: 600_000,
        },
      },
      {
        // The whole of Berth on several hosts, with their faults: one after the other on a cluster that all of a process
        // share.
        test: {
          name: 'hosts',
          include: process.env['BERTH_SHORT'] ? shortHosts : [allHosts, 'tools/lab/*.e2e.test.ts'],
          exclude: skip,
          maxWorkers: 1,
          isolate: false,
          testTimeout: 900_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
