import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { LockedPackages } from './platforms.ts';
import { missingPlatforms } from './platforms.ts';

describe('the lock file', () => {
  it('names every platform, so that npm ci takes it (remedy: npm run lock)', () => {
    const file = readFileSync(join(resolve(import.meta.dirname, '../..'), 'package-lock.json'), 'utf8');
    expect(missingPlatforms((JSON.parse(file) as { packages: LockedPackages }).packages)).toEqual({});
  });
});

describe('missingPlatforms', () => {
  it('adds what is left out, for its own platform only', () => {
    const packages = {
      'node_modules/tool': {
        optionalDependencies: { '@tool/linux-x64': '1.0.0', '@tool/cli-linux-arm64-musl': '1.0.0' },
      },
      'node_modules/@tool/linux-x64': { version: '1.0.0' },
    };
    expect(missingPlatforms(packages)).toEqual({
      'node_modules/@tool/cli-linux-arm64-musl': {
        version: '1.0.0',
        cpu: ['arm64'],
        os: ['linux'],
        libc: ['musl'],
        dev: true,
        optional: true,
      },
    });
  });

  it('refuses a name that tells no platform', () => {
    expect(() => missingPlatforms({ x: { optionalDependencies: { 'cpu-features': '1' } } })).toThrow('no platform');
  });
});
