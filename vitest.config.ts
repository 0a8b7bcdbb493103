import { defineConfig } from 'vitest/config';

const skip = ['**/node_modules/**', '**/dist/**'];

// Three kinds of tests, one vitest project each. Run one with `vitest run --project unit [path]`.
export default defineConfig({
  test: {
    projects: [
      {
        // Beside the code, fast, no part outside the process.
        test: {
          name: 'unit',
          include: ['{apps,deploy,examples,libs,tools}/**/*.test.ts'],
          exclude: [...skip, '**/*.{it,e2e}.test.ts'],
        },
      },
      {
        // Against real etcd, NATS, Docker and kernel: two files at a time, for most of it is waiting.
        test: {
          name: 'it',
          include: ['{apps,deploy,examples,libs,tools}/**/*.it.test.ts'],
          exclude: skip,
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        // The whole of Berth on hosts of their own: two files at a time.
        test: {
          name: 'e2e',
          include: ['{apps,deploy,e2e,examples,libs}/**/*.e2e.test.ts'],
          exclude: skip,
          maxWorkers: 2,
          // Two processes for all files: in each, those that leave a cluster as they found it share one.
          isolate: false,
          testTimeout: 300_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
