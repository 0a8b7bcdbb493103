import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Clock, Logger } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { rpcLimits } from './limits.ts';

/** A certificate with its key, and whom to trust; all PEM. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** Certificates that may be renewed while the process runs. New connections use the current ones; open ones live on. */
export interface TlsSource {
  current(): TlsMaterial;
  /** Calls the listener after each change; the returned function ends it. */
  onChange(listener: () => void): () => void;
}

/** Certificates held in memory; `replace` renews them. */
export function memoryTls(first: TlsMaterial): TlsSource & { replace(next: TlsMaterial): void } {
  let material = first;
  const listeners = new Set<() => void>();
  return {
    current: () => material,
    onChange: (listener) => subscribe(listeners, listener),
    replace: (next) => {
      material = next;
      for (const listener of listeners) listener();
    },
  };
}

export interface FileTlsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Time between looks at the files. Default 5,000. */
  readonly pollMs?: number;
}

/**
 * Certificates of a folder as the agent writes them (`cert.pem`, `key.pem`, `ca.pem`), read again when they change. By
 * polling, for renames inside a bind mount raise no event in every container. A torn or missing set (renewal is three
 * renames) is left for the next look. Throws FailedPrecondition, reason NO_CERTIFICATE, if there is none at the start.
 */
export function fileTls(folder: string, options: FileTlsOptions): TlsSource & { close(): void } {
  const listeners = new Set<() => void>();
  let material = readFolder(folder);
  let cancel: () => void = () => {};
  const look = (): void => {
    try {
      const next = readFolder(folder);
      if (next.cert !== material.cert || next.key !== material.key || next.ca !== material.ca) {
        material = next;
        options.logger.info({ folder }, 'certificates changed on disk; new connections use them');
        for (const listener of listeners) listener();
      }
    } catch (error) {
      options.logger.warn({ folder, error: String(error) }, 'certificates cannot be read; the ones in memory stay');
    }
    cancel = options.clock.timer(options.pollMs ?? rpcLimits.tlsPollMs, look);
  };
  cancel = options.clock.timer(options.pollMs ?? rpcLimits.tlsPollMs, look);
  return {
    current: () => material,
    onChange: (listener) => subscribe(listeners, listener),
    close: () => cancel(),
  };
}

function subscribe(listeners: Set<() => void>, listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function readFolder(folder: string): TlsMaterial {
  const read = (name: string): string => {
    try {
      return readFileSync(join(folder, name), 'utf8');
    } catch (cause) {
      throw noCertificate(join(folder, name), cause);
    }
  };
  const material = { cert: read('cert.pem'), key: read('key.pem'), ca: read('ca.pem') };
  try {
    createSecureContext(material);
  } catch (cause) {
    throw noCertificate(folder, cause);
  }
  return material;
}

function noCertificate(file: string, cause: unknown): BerthError {
  return new BerthError('FailedPrecondition', `no usable certificate: ${file} cannot be read`, {
    reason: 'NO_CERTIFICATE',
    details: { file },
    cause,
  });
}
