import type { Disk } from '@berth/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** A disk to test. */
export interface DiskUnderTest {
  readonly disk: Disk;
  /** The same folder as another process would open it: after a restart, say. */
  reopen(): Disk;
  close(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array | undefined): string | undefined => data && new TextDecoder().decode(data);

/** What every Disk keeps to; both implementations run it. */
export function diskContract(name: string, make: () => Promise<DiskUnderTest>): void {
  describe(`disk: ${name}`, () => {
    let under: DiskUnderTest;
    let disk: Disk;
    beforeEach(async () => {
      under = await make();
      disk = under.disk;
    });
    afterEach(() => under.close());

    it('gives back what was written, also after a restart', async () => {
      await disk.write('node.json', bytes('{"id":1}'));
      await disk.write('certs/node/key.pem', bytes('key'));
      for (const each of [disk, under.reopen()]) {
        expect(text(await each.read('node.json'))).toBe('{"id":1}');
        expect(text(await each.read('certs/node/key.pem'))).toBe('key');
      }
    });

    it('replaces a file whole', async () => {
      await disk.write('a', bytes('a long first version'));
      await disk.write('a', bytes('short'));
      expect(text(await disk.read('a'))).toBe('short');
      await disk.write('a', new Uint8Array());
      expect(await disk.read('a')).toEqual(Buffer.alloc(0));
    });

    it('knows nothing of a file that is not there', async () => {
      expect(await disk.read('none')).toBeUndefined();
      expect(await disk.read('no/such/folder')).toBeUndefined();
      expect(await disk.list('no/such/folder')).toEqual([]);
      await disk.remove('none');
    });

    it('lists the names in a folder, sorted, and forgets removed files', async () => {
      for (const file of ['b', 'a', 'c']) await disk.write(`tasks/${file}`, bytes(file));
      await disk.write('elsewhere', bytes('x'));
      expect(await disk.list('tasks')).toEqual(['a', 'b', 'c']);
      await disk.remove('tasks/b');
      expect(await disk.list('tasks')).toEqual(['a', 'c']);
      expect(await disk.read('tasks/b')).toBeUndefined();
    });

    it('lists folders beside files', async () => {
      await disk.write('certs/node/key.pem', bytes('key'));
      await disk.write('certs/ca.pem', bytes('ca'));
      expect(await disk.list('certs')).toEqual(['ca.pem', 'node']);
    });

    it('keeps what it was given when the caller changes its buffer, and gives out copies', async () => {
      const data = bytes('abc');
      await disk.write('a', data);
      data[0] = 0;
      const first = await disk.read('a');
      expect(text(first)).toBe('abc');
      first?.fill(0);
      expect(text(await disk.read('a'))).toBe('abc');
    });

    it('lets writes at the same time both end, one of them last', async () => {
      await Promise.all([
        disk.write('a', bytes('one')),
        disk.write('a', bytes('two')),
        disk.write('b', bytes('three')),
      ]);
      expect(['one', 'two']).toContain(text(await disk.read('a')));
      expect(text(await disk.read('b'))).toBe('three');
    });

    it('never leaves its folder', async () => {
      await expect(disk.write('../outside', bytes('x'))).rejects.toThrow(/leaves the folder/u);
      await expect(disk.read('a/../../outside')).rejects.toThrow(/leaves the folder/u);
    });
  });
}
