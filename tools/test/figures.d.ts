import 'vitest';

declare module 'vitest' {
  interface TaskMeta {
    /** What a test measured, shown by `npm test` and in docs/reports: name of the figure, with its unit → value. */
    figures?: Record<string, string | number>;
  }
}
