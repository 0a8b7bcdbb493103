import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Credentials } from './credentials.ts';
import { writeCredentials } from './credentials.ts';
import { CliError, exitCode } from './exit-code.ts';

/** Addresses that a context keeps; the oldest go first. */
const registriesMax = 16;

/** A cluster that the user can speak to, and as whom. */
export interface Context {
  readonly name: string;
  readonly clusterId: string;
  /** Addresses of registries; the member list gives the rest. */
  readonly registries: readonly string[];
}

/** Writes a context with its certificate into a folder, to be carried elsewhere or kept among one's own. */
export function writeContext(folder: string, context: Context, credentials: Credentials): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, 'context.json'), `${JSON.stringify(context, undefined, 2)}\n`);
  writeCredentials(folder, credentials);
}

/** Reads such a folder. Throws where it is none. */
export function readContext(folder: string): { readonly context: Context; readonly credentials: Credentials } {
  const read = (file: string): string => {
    const path = join(folder, file);
    if (existsSync(path)) return readFileSync(path, 'utf8');
    throw new CliError(
      exitCode.badInput,
      `${folder} holds no context: there is no ${file} in it`,
      'take a folder that `berth certificate issue ROLE NAME --out FOLDER` has written',
    );
  };
  const context = JSON.parse(read('context.json')) as Context;
  return { context, credentials: { cert: read('cert.pem'), key: read('key.pem'), ca: read('ca.pem') } };
}

/** Contexts on disk: a folder each, `context.json`, `cert.pem`, `key.pem` (0600), `ca.pem`. */
export class Contexts {
  readonly #folder: string;

  /** Default folder: $BERTH_CONFIG_DIR, else $XDG_CONFIG_HOME/berth, else ~/.config/berth. */
  constructor(env: Readonly<Record<string, string | undefined>> = process.env) {
    this.#folder = env['BERTH_CONFIG_DIR'] ?? join(env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config'), 'berth');
  }

  list(): string[] {
    const folder = join(this.#folder, 'contexts');
    return existsSync(folder) ? readdirSync(folder).sort() : [];
  }

  /** The chosen context's name; undefined if none was ever made. */
  current(): string | undefined {
    const file = join(this.#folder, 'current');
    return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined;
  }

  use(name: string): void {
    this.read(name);
    writeFileSync(join(this.#folder, 'current'), `${name}\n`);
  }

  read(name: string): Context {
    const file = join(this.#folderOf(name), 'context.json');
    if (!existsSync(file)) {
      const known = this.list();
      throw new CliError(
        exitCode.badInput,
        `there is no context ${JSON.stringify(name)}`,
        known.length > 0
          ? `choose one of: ${known.join(', ')}`
          : 'make one with `berth cluster init` on the first host of a cluster',
      );
    }
    return { ...(JSON.parse(readFileSync(file, 'utf8')) as Omit<Context, 'name'>), name };
  }

  credentials(name: string): Credentials {
    const read = (file: string): string => readFileSync(join(this.#folderOf(name), file), 'utf8');
    return { cert: read('cert.pem'), key: read('key.pem'), ca: read('ca.pem') };
  }

  /** Writes a context and makes it the current one, until it is removed. */
  write(context: Context, credentials: Credentials): void {
    const previous = this.current();
    const folder = this.add(context, credentials);
    if (previous !== undefined && previous !== context.name) writeFileSync(join(folder, 'previous'), `${previous}\n`);
    writeFileSync(join(this.#folder, 'current'), `${context.name}\n`);
  }

  /** Writes a context beside the current one; it is the current one only if there was none. Returns its folder. */
  add(context: Context, credentials: Credentials): string {
    const folder = this.#folderOf(context.name);
    writeContext(folder, context, credentials);
    if (this.current() === undefined) writeFileSync(join(this.#folder, 'current'), `${context.name}\n`);
    return folder;
  }

  /** Replaces a context's certificate and what it trusts; its key stays. */
  renew(name: string, certificate: { readonly cert: string; readonly ca: string }): void {
    writeCredentials(this.#folderOf(name), { ...this.credentials(name), ...certificate });
  }

  /**
   * Notes registries that the cluster has and the context did not know, so that it is still found when those of the
   * beginning are gone. Those that are known stay: one that is down today is back tomorrow.
   */
  learn({ name, clusterId, registries }: Context, found: readonly string[]): void {
    const news = found.filter((address) => !registries.includes(address));
    if (news.length === 0) return;
    const file = join(this.#folderOf(name), 'context.json');
    const fresh = `${file}.${process.pid}`;
    const all = [...registries, ...news].slice(-registriesMax);
    try {
      writeFileSync(fresh, `${JSON.stringify({ clusterId, registries: all }, undefined, 2)}\n`);
      renameSync(fresh, file);
    } catch {
      // A context that can only be read is as good for now.
    }
  }

  remove(name: string): void {
    this.read(name);
    const previousFile = join(this.#folderOf(name), 'previous');
    const previous = existsSync(previousFile) ? readFileSync(previousFile, 'utf8').trim() : '';
    rmSync(this.#folderOf(name), { recursive: true });
    if (this.current() === name) {
      if (this.list().includes(previous)) this.use(previous);
      else rmSync(join(this.#folder, 'current'));
    }
    // The last one leaves nothing behind.
    if (this.list().length === 0) rmdirSync(join(this.#folder, 'contexts'));
    if (readdirSync(this.#folder).length === 0) rmdirSync(this.#folder);
  }

  #folderOf(name: string): string {
    if (!/^[a-z0-9][a-z0-9._-]{0,62}$/u.test(name)) {
      throw new CliError(exitCode.badInput, `${JSON.stringify(name)} is no context name`, 'use letters, digits, . _ -');
    }
    return join(this.#folder, 'contexts', name);
  }
}
