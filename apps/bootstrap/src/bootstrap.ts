import { JoinToken } from '@berth/contracts/registry';
import { ClusterSettings } from '@berth/contracts/workload';
import type { Clock, Logger, Rng, Store, StoreOp } from '@berth/kernel';
import { BerthError, isBerthError, keyFamily, metaKeys, newId } from '@berth/kernel';

/** Version of the stored records that this build writes and reads. */
export const schemaVersion = 1;

const retryMs = 250;

const joinTokens = keyFamily({
  owner: 'registry',
  kind: 'token',
  codec: JoinToken,
  id: (token: JoinToken) => [token.secretSha256],
});

export interface BootstrapOptions {
  readonly store: Store;
  /** Makes etcd let in nobody but its users, each to its own prefix. Idempotent. */
  readonly enableAuth: () => Promise<void>;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly clusterId: string;
  readonly settings: ClusterSettings;
  /** SHA-256 of the first join token's secret, hex. */
  readonly tokenSha256: string;
  readonly waitLimitMs: number;
}

/**
 * Makes an empty store the store of a cluster, once: id, epoch, settings and the first token come to be in one txn, so a
 * crash leaves all or nothing, and a token that was rotated since never comes back. Access is set at every run. Throws
 * FailedPrecondition when the store belongs to another cluster (OTHER_CLUSTER) or was written by a newer Berth
 * (NEWER_SCHEMA), Unavailable when no answer came in time.
 */
export async function bootstrap(options: BootstrapOptions): Promise<{ readonly fresh: boolean }> {
  const { store, clock, logger, clusterId } = options;
  const started = clock.monotonic();
  for (;;) {
    try {
      const fresh = await prepare(options);
      await options.enableAuth();
      logger.info({ cluster: clusterId, fresh, epoch: await store.epoch() }, 'the store is ready');
      return { fresh };
    } catch (error) {
      // Every step may be done twice, so one whose outcome is unknown is simply done again.
      if (!isBerthError(error, 'Unavailable') || clock.monotonic() - started > options.waitLimitMs) throw error;
      logger.debug({ error: error.message }, 'etcd does not answer yet');
      await clock.sleep(retryMs);
    }
  }
}

async function prepare(options: BootstrapOptions): Promise<boolean> {
  const { store, rng, clock, clusterId, tokenSha256 } = options;
  const token: JoinToken = { secretSha256: tokenSha256, createdAtMs: clock.wall(), expiresAtMs: 0 };
  const { committed } = await store.txn({
    compares: [{ kind: 'absent', key: metaKeys.clusterId }],
    ops: [
      put(metaKeys.clusterId, text(clusterId)),
      put(metaKeys.epoch, text(newId(rng))),
      put(metaKeys.schema, text(String(schemaVersion))),
      put(metaKeys.settings, ClusterSettings.encode(options.settings).finish()),
      put(joinTokens.keyOf(token), joinTokens.encode(token)),
    ],
  });
  if (committed) return true;
  await check(store, clusterId);
  return false;
}

async function check(store: Store, clusterId: string): Promise<void> {
  const stored = await read(store, metaKeys.clusterId);
  if (stored !== clusterId) {
    throw new BerthError('FailedPrecondition', `this etcd belongs to cluster ${stored}, not ${clusterId}`, {
      reason: 'OTHER_CLUSTER',
      details: { stored, expected: clusterId },
    });
  }
  const schema = Number(await read(store, metaKeys.schema));
  if (schema > schemaVersion) {
    throw new BerthError('FailedPrecondition', `a newer Berth wrote this etcd (schema ${schema} > ${schemaVersion})`, {
      reason: 'NEWER_SCHEMA',
    });
  }
}

async function read(store: Store, key: string): Promise<string> {
  const { entry } = await store.get(key);
  return entry === undefined ? '' : new TextDecoder().decode(entry.value);
}

function put(key: string, value: Uint8Array): StoreOp {
  return { kind: 'put', key, value };
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}
