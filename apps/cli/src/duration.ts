import { CliError, exitCode } from './exit-code.ts';

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `30s`, `5m`, `1h30m`, `500ms`, `2d` as milliseconds. */
export function durationMs(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/gu)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) {
    throw new CliError(exitCode.badInput, `${JSON.stringify(text)} is no duration`, 'write it like 30s, 5m or 1h30m');
  }
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit as keyof typeof units], 0);
}

/** A moment, in milliseconds since 1970: a duration before `nowMs`, an RFC 3339 time, or seconds since 1970. */
export function momentMs(option: string, text: string, nowMs: number): number {
  if (/^\d+(?:\.\d+)?$/u.test(text)) return Math.floor(Number(text) * 1_000);
  if (/^\d{4}-\d{2}-\d{2}/u.test(text)) {
    const atMs = Date.parse(text);
    if (!Number.isNaN(atMs)) return atMs;
  } else if (/^\d/u.test(text)) return Math.floor(nowMs - durationMs(text));
  throw new CliError(
    exitCode.badInput,
    `${option} ${text} is no time`,
    'write it like 10m (so long ago), 2026-05-04T12:00:00Z or seconds since 1970',
  );
}
