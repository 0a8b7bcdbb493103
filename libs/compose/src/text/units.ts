/** A text that was understood, or why not. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly message: string; readonly remedy: string };

const millisPerUnit: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Longest duration that the stack spec can carry: 2^32 - 1 ms. */
const durationMillisMax = 0xffff_ffff;

/** Compose durations (`1m30s`, `500ms`, `2.5s`) in milliseconds. */
export function parseDuration(text: string): Parsed<number> {
  const remedy = 'write a number with a unit (us, ms, s, m, h), such as 30s or 1m30s';
  if (/^0+$/.test(text)) return { ok: true, value: 0 };
  if (/^\d+(\.\d+)?$/.test(text)) return { ok: false, message: `the duration ${text} has no unit`, remedy };
  if (text.startsWith('-')) return { ok: false, message: `the duration ${text} is negative`, remedy };
  if (!/^(\d+(\.\d+)?(us|ms|s|m|h|d))+$/.test(text)) {
    return { ok: false, message: `"${text}" is not a duration`, remedy };
  }
  let millis = 0;
  for (const [, amount = '', unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(us|ms|s|m|h|d)/g)) {
    millis += Number(amount) * (millisPerUnit[unit] ?? 0);
  }
  if (millis > 0 && millis < 1) return { ok: false, message: `the duration ${text} is under 1 ms`, remedy };
  if (millis > durationMillisMax) return { ok: false, message: `the duration ${text} is over 49 days`, remedy };
  return { ok: true, value: Math.round(millis) };
}

const unitPowers: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4, p: 5 };

/** Compose byte values (`512m`, `1.5gb`, `64KiB`, 1048576) in bytes; units are powers of 1024, as Docker reads them. */
export function parseBytes(text: string): Parsed<number> {
  const remedy = 'write a number with a unit (b, k, m, g), such as 512m';
  if (text.startsWith('-')) return { ok: false, message: `${text} bytes is negative`, remedy };
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(text);
  if (match === null) return { ok: false, message: `"${text}" is not a number of bytes`, remedy };
  const [, amount = '', unit = ''] = match;
  const value = Math.floor(Number(amount) * 1024 ** (unitPowers[unit.toLowerCase()] ?? 0));
  if (!Number.isSafeInteger(value)) {
    return {
      ok: false,
      message: `${text} bytes is more than any machine has`,
      remedy: 'check the unit; 512m is 512 MiB',
    };
  }
  return { ok: true, value };
}

/** Compose cpus (`0.5`, "2") in thousandths of a core. */
export function parseCpus(text: string): Parsed<number> {
  const remedy = 'write a number of cores, such as 0.5';
  if (!/^-?\d*\.?\d+$/.test(text)) return { ok: false, message: `"${text}" is not a number of cores`, remedy };
  const millis = Math.round(Number(text) * 1000);
  if (millis < 1) return { ok: false, message: `${text} cores is less than 0.001`, remedy };
  return { ok: true, value: millis };
}
