import type { Disk } from '@berth/kernel';
import { assert, BerthError } from '@berth/kernel';

/** A folder in memory. It outlives the process that wrote it: give the same one to the next. */
export class MemoryDisk implements Disk {
  /** True: nothing more is written. */
  full = false;
  readonly #files = new Map<string, Uint8Array>();

  async read(name: string): Promise<Uint8Array | undefined> {
    const data = this.#files.get(pathOf(name));
    return data === undefined ? undefined : Buffer.from(data);
  }

  async write(name: string, data: Uint8Array): Promise<void> {
    if (this.full) throw new BerthError('Unavailable', `write ${name}: no space left`, { reason: 'DISK' });
    this.#files.set(pathOf(name), Buffer.from(data));
  }

  async remove(name: string): Promise<void> {
    this.#files.delete(pathOf(name));
  }

  async list(folder: string): Promise<readonly string[]> {
    const prefix = `${pathOf(folder)}/`.replace(/^\/$/u, '');
    const inside = [...this.#files.keys()].filter((path) => path.startsWith(prefix));
    return [...new Set(inside.map((path) => path.slice(prefix.length).split('/')[0] ?? ''))].sort();
  }
}

/** `a//b/./c` and `a/x/../b/c` are `a/b/c`. */
function pathOf(name: string): string {
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else assert(parts.pop() !== undefined, `${name} leaves the folder`);
  }
  return parts.join('/');
}
