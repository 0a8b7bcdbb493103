const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Lifetimes of certificates; all start an hour in the past, for clocks that are slow. */
export const lifetimes = { caMs: 3_650 * dayMs, certificateMs: 90 * dayMs, backdatingMs: hourMs } as const;
