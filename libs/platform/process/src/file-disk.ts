import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import type { Disk } from '@berth/kernel';
import { assert, BerthError } from '@berth/kernel';

/** A process's own folder. A write is whole or not at all, also when the power goes in the middle of it. */
export class FileDisk implements Disk {
  readonly #root: string;
  #writes = 0;

  constructor(root: string) {
    this.#root = root;
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.#path(name));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async write(name: string, data: Uint8Array, options: { readonly mode?: number } = {}): Promise<void> {
    const path = this.#path(name);
    try {
      await this.#replace(path, data, options);
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === undefined ? error : cannotWrite(path, error);
    }
  }

  async #replace(path: string, data: Uint8Array, options: { readonly mode?: number }): Promise<void> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    this.#writes += 1;
    const temporary = `${path}.${process.pid}-${this.#writes}.tmp`;
    try {
      const file = await open(temporary, 'wx', options.mode ?? 0o600);
      try {
        await file.writeFile(data);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncFolder(dirname(path));
  }

  async remove(name: string): Promise<void> {
    const path = this.#path(name);
    try {
      await rm(path);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    await syncFolder(dirname(path));
  }

  async list(folder: string): Promise<readonly string[]> {
    try {
      const names = await readdir(this.#path(folder));
      // What a crash left of a write.
      return names.filter((name) => !name.endsWith('.tmp')).sort();
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  #path(name: string): string {
    const path = normalize(join(this.#root, name));
    assert(`${path}/`.startsWith(`${normalize(this.#root)}/`), `${name} leaves the folder`);
    return path;
  }
}

/** A rename lasts only once its folder is on the disk. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function cannotWrite(path: string, cause: unknown): BerthError {
  return new BerthError('Unavailable', `write ${path}: ${(cause as Error).message}`, { reason: 'DISK', cause });
}
