import type { AuthorityMaterial } from '@berth/identity';
import { createAuthority, createCsr, createKey, signIdentity } from '@berth/identity';
import type { Identity } from '@berth/kernel';
import type { TlsMaterial } from './tls.ts';

/** A cluster's CA for tests; other clusters' are made the same way. */
export class TestCluster {
  readonly authority: AuthorityMaterial;

  private constructor(authority: AuthorityMaterial) {
    this.authority = authority;
  }

  static async create(): Promise<TestCluster> {
    return new TestCluster(await createAuthority({ commonName: 'Berth cluster test', nowMs: Date.now() }));
  }

  /** A certificate of somebody, by default valid now; `nowMs` in the past makes an expired one. */
  async certificate(identity: Identity, options: { nowMs?: number; lifetimeMs?: number } = {}): Promise<TlsMaterial> {
    const key = await createKey();
    const cert = await signIdentity(this.authority, {
      identity,
      csr: await createCsr(key),
      addresses: ['127.0.0.1'],
      nowMs: Date.now(),
      ...options,
    });
    return { cert, key, ca: this.authority.certPem };
  }
}
