import { BerthError } from '@berth/kernel';
import type { TlsMaterial, TlsSource } from '@berth/rpc';

/** Certificates that do not exist yet: a host that has not joined has none. Clients made before wait for them. */
export class LateTls implements TlsSource {
  #source: TlsSource | undefined;
  readonly #listeners = new Set<() => void>();

  current(): TlsMaterial {
    if (this.#source) return this.#source.current();
    throw new BerthError('Unavailable', 'this host has not joined yet', { reason: 'NOT_JOINED' });
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** From now on these. */
  become(source: TlsSource): void {
    this.#source = source;
    source.onChange(() => this.#changed());
    this.#changed();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
