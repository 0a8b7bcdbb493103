import { createHash, timingSafeEqual } from 'node:crypto';
import type { Rng } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { fromBase36, toBase36 } from './base36.ts';

/** What a host needs to join: whom to trust, and the right to ask. */
export interface JoinToken {
  /** SHA-256 of the cluster CA's DER: 32 bytes. */
  readonly caDigest: Uint8Array;
  /** 25 characters of [0-9a-z], 128 bits. */
  readonly secret: string;
}

const prefix = 'BRTHTKN';
const version = '1';
const digestLength = 50;
const secretLength = 25;

/** A new secret: 128 random bits. */
export function newTokenSecret(rng: Rng): string {
  return toBase36(rng.bytes(16), secretLength);
}

/** `BRTHTKN-1-<CA digest, 50 characters>-<secret, 25 characters>`. */
export function formatJoinToken(token: JoinToken): string {
  return [prefix, version, toBase36(token.caDigest, digestLength), token.secret].join('-');
}

/** Reads a join token. InvalidArgument, reason BAD_TOKEN, says what is wrong with it; the secret is in no message. */
export function parseJoinToken(text: string): JoinToken {
  const [word, number, digest = '', secret = '', ...more] = text.trim().split('-');
  if (word !== prefix || more.length > 0) throw bad(`it does not have the form ${prefix}-1-<digest>-<secret>`);
  if (number !== version) throw bad(`version ${JSON.stringify(number)} is unknown to this build`);
  const caDigest = digest.length === digestLength ? fromBase36(digest, 32) : undefined;
  if (caDigest === undefined) throw bad('its digest is damaged; copy it again, whole');
  if (secret.length !== secretLength || fromBase36(secret, 16) === undefined) {
    throw bad('its secret is damaged; copy it again, whole');
  }
  return { caDigest, secret };
}

/** What is stored of a secret: SHA-256, hex. A secret of 128 random bits cannot be found by trying, so no slow hash. */
export function hashTokenSecret(secret: string): string {
  return createHash('sha256').update(secret, 'utf8').digest('hex');
}

/** Compares in constant time. */
export function tokenSecretMatches(secret: string, storedHash: string): boolean {
  const stored = Buffer.from(storedHash, 'hex');
  const given = Buffer.from(hashTokenSecret(secret), 'hex');
  return stored.length === given.length && timingSafeEqual(stored, given);
}

function bad(why: string): BerthError {
  return new BerthError('InvalidArgument', `this is no join token: ${why}`, { reason: 'BAD_TOKEN' });
}
