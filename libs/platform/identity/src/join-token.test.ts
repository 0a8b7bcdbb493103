import { isBerthError } from '@berth/kernel';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromBase36, toBase36 } from './base36.ts';
import { formatJoinToken, hashTokenSecret, newTokenSecret, parseJoinToken, tokenSecretMatches } from './join-token.ts';

const rngOf = (bytes: Uint8Array) => ({ next: () => 0, bytes: () => bytes });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

describe('a join token', () => {
  it('comes back as it was written', () => {
    fc.assert(
      fc.property(bytes(32), bytes(16), (digest, random) => {
        const secret = newTokenSecret(rngOf(random));
        const text = formatJoinToken({ caDigest: digest, secret });
        expect(text).toMatch(/^BRTHTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/u);
        expect(parseJoinToken(` ${text}\n`)).toEqual({ caDigest: digest, secret });
      }),
    );
  });

  it('is refused when a character is missing, added or of the wrong kind, and never shows its secret', () => {
    const good = formatJoinToken({
      caDigest: new Uint8Array(32).fill(255),
      secret: newTokenSecret(rngOf(new Uint8Array(16).fill(255))),
    });
    const wrong = [
      '',
      'SWMTKN-1-a-b',
      good.slice(0, -1),
      `${good}x`,
      good.slice(0, 20) + good.slice(21),
      good.replace('-1-', '-2-'),
      good.toUpperCase(),
      `${good.slice(0, -25)}${'z'.repeat(25)}`,
      `BRTHTKN-1-${'z'.repeat(50)}-${good.slice(-25)}`,
    ];
    for (const text of wrong) {
      const error = catching(() => parseJoinToken(text));
      expect(isBerthError(error, 'InvalidArgument', 'BAD_TOKEN'), text).toBe(true);
      expect(String(error)).not.toContain(good.slice(-25));
    }
  });

  it('is stored as a hash that only its secret fits', () => {
    const hash = hashTokenSecret('0123456789abcdefghijklmno');
    expect(hash).toMatch(/^[0-9a-f]{64}$/u);
    expect(tokenSecretMatches('0123456789abcdefghijklmno', hash)).toBe(true);
    expect(tokenSecretMatches('0123456789abcdefghijklmnp', hash)).toBe(false);
    expect(tokenSecretMatches('0123456789abcdefghijklmno', '')).toBe(false);
  });
});

describe('base 36', () => {
  it('holds any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (value) => {
        expect(fromBase36(toBase36(value, 1), value.length)).toEqual(value);
      }),
    );
  });

  it('refuses what does not fit', () => {
    expect(fromBase36('74', 1)).toBeUndefined();
    expect(fromBase36('é', 1)).toBeUndefined();
  });
});

function catching(fn: () => unknown): unknown {
  try {
    return fn();
  } catch (error) {
    return error;
  }
}
