import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { diskContract } from '@berth/testing-suites';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileDisk } from './file-disk.ts';

diskContract('files', async () => {
  const root = mkdtempSync(join(tmpdir(), 'berth-disk-'));
  return {
    disk: new FileDisk(root),
    reopen: () => new FileDisk(root),
    close: async () => rmSync(root, { recursive: true }),
  };
});

describe('files of FileDisk', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'berth-disk-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it("are the owner's alone, unless told otherwise, also when a file of another mode is replaced", async () => {
    const disk = new FileDisk(root);
    const mode = (name: string): number => statSync(join(root, name)).mode & 0o777;
    await disk.write('certs/cert.pem', Buffer.from('x'), { mode: 0o644 });
    await disk.write('certs/key.pem', Buffer.from('x'));
    expect([mode('certs'), mode('certs/cert.pem'), mode('certs/key.pem')]).toEqual([0o700, 0o644, 0o600]);
    await disk.write('certs/cert.pem', Buffer.from('y'));
    expect(mode('certs/cert.pem')).toBe(0o600);
  });

  it('leave nothing behind, and show nothing of what a crash left', async () => {
    const disk = new FileDisk(root);
    await disk.write('a', Buffer.from('x'));
    expect(readdirSync(root)).toEqual(['a']);
    writeFileSync(join(root, 'b.1-1.tmp'), 'torn');
    expect(await disk.list('.')).toEqual(['a']);
    await expect(disk.write('a/b', Buffer.from('x'))).rejects.toMatchObject({ code: 'Unavailable', reason: 'DISK' });
    expect(readdirSync(root).sort()).toEqual(['a', 'b.1-1.tmp']);
  });
});
