import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '@berth/kernel';
import type { Running } from '@berth/process';
import { SystemClock, SystemRng } from '@berth/process';
import { connectEtcd } from '@berth/store-etcd';
import { bootstrap } from './bootstrap.ts';
import type { Config } from './config.ts';

/** Puts the process together: it works at once and is done when the store is ready. */
export async function start(config: Config, logger: Logger): Promise<Running> {
  const clock = new SystemClock();
  const rng = new SystemRng();
  const pem = (name: string): string => readFileSync(join(config.etcdCerts, name), 'utf8');
  const store = connectEtcd({
    endpoints: config.etcdEndpoints,
    tls: { ca: pem('ca.pem'), cert: pem('cert.pem'), key: pem('key.pem') },
    // Whatever address it is reached at.
    serverName: 'localhost',
    clock,
    rng,
    logger,
  });
  const done = bootstrap({
    store,
    enableAuth: () => store.admin.bootstrapAuth(),
    clock,
    rng,
    logger,
    clusterId: config.clusterId,
    settings: {
      networkPool: config.networkPool,
      rangePrefix: config.rangePrefix,
      blockPrefix: config.blockPrefix,
    },
    tokenSha256: config.tokenSha256,
    waitLimitMs: config.waitLimitMs,
  });
  return {
    done: done.then(() => undefined),
    stop: async () => store.close(),
  };
}
