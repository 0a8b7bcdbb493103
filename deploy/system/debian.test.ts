import { expect, test } from 'vitest';
import { isDebian, missingPackages } from './debian.ts';

test.each([
  ['ID=debian\nVERSION_ID="12"', true],
  ['NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian', true],
  ['ID=linuxmint\nID_LIKE="ubuntu debian"', true],
  ['NAME="not debian"\nID=fedora', false],
  ['', false],
])('os-release %j', (release, expected) => {
  expect(isDebian(release)).toBe(expected);
});

test('a package is missing once, if one of its programs is', async () => {
  const programs = ['sh', 'no-such-1', 'no-such-2'].map((program) => ({ program, package: program.slice(0, 7) }));
  expect(await missingPackages(programs)).toEqual(['no-such']);
});
