import type { Disk } from '@berth/kernel';
import { createKey } from './request.ts';

/** What a folder of certificates holds; all PEM. */
export interface StoredCertificate {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/**
 * One identity's folder: `cert.pem`, `key.pem` (0600), `ca.pem`, as servers and clients read them. The key is made once
 * and kept over renewals, so that a renewal is the replacement of one file and can never be seen half done.
 */
export class CertStore {
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #mode: number;

  /** `mode` is that of the certificates; the key is always 0600. Default 0644. */
  constructor(disk: Disk, folder: string, options: { readonly mode?: number } = {}) {
    this.#disk = disk;
    this.#folder = folder;
    this.#mode = options.mode ?? 0o644;
  }

  /** The three files, or undefined as long as one is missing. */
  async load(): Promise<StoredCertificate | undefined> {
    const [cert, key, ca] = await Promise.all([this.#read('cert.pem'), this.#read('key.pem'), this.#read('ca.pem')]);
    return cert === undefined || key === undefined || ca === undefined ? undefined : { cert, key, ca };
  }

  /** The folder's key, made at the first call. */
  async key(): Promise<string> {
    const kept = await this.#read('key.pem');
    if (kept !== undefined) return kept;
    const key = await createKey();
    await this.#disk.write(this.#name('key.pem'), new TextEncoder().encode(key), { mode: 0o600 });
    return key;
  }

  /** Stores a certificate for the folder's key. */
  async save(certificate: { readonly cert: string; readonly ca: string }): Promise<void> {
    await this.#disk.write(this.#name('ca.pem'), new TextEncoder().encode(certificate.ca), { mode: this.#mode });
    await this.#disk.write(this.#name('cert.pem'), new TextEncoder().encode(certificate.cert), { mode: this.#mode });
  }

  #name(file: string): string {
    return `${this.#folder}/${file}`;
  }

  async #read(file: string): Promise<string | undefined> {
    const bytes = await this.#disk.read(this.#name(file));
    return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
  }
}
