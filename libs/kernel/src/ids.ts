import type { Rng } from './ports/rng.ts';

const alphabet = '0123456789abcdefghijklmnopqrstuvwxyz';

/** A new id: 20 characters of [0-9a-z], about 103 bits, so it is never used again. Safe as key and subject token. */
export function newId(rng: Rng): string {
  let id = '';
  // 252 = 7 * 36: bytes from there on would favour the first letters.
  while (id.length < 20) {
    for (const byte of rng.bytes(32)) {
      if (byte < 252 && id.length < 20) id += alphabet[byte % 36];
    }
  }
  return id;
}

/** The one rule for names in etcd keys and NATS subjects: `.` is written `%2E`, and so is all else that would split a token. */
export function encodeToken(name: string): string {
  return name.replace(/[^A-Za-z0-9_-]/gu, (c) =>
    [...new TextEncoder().encode(c)].map((b) => `%${b.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

/** Undoes `encodeToken`. */
export function decodeToken(token: string): string {
  return decodeURIComponent(token);
}
