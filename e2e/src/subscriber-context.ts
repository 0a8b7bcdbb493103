import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';

/** Issues a subscriber's certificate and makes a folder of contexts that speaks as that subscriber. */
export async function subscriberContext(cluster: Cluster, name = 'outside'): Promise<string> {
  const issued = await issueTo(cluster, 'subscriber', name);
  const config = join(issued, 'config');
  const context = join(config, 'contexts/outside');
  mkdirSync(context, { recursive: true, mode: 0o700 });
  for (const file of ['cert.pem', 'key.pem', 'ca.pem']) copyFileSync(join(issued, file), join(context, file));
  writeFileSync(
    join(context, 'context.json'),
    JSON.stringify({ clusterId: '', registries: [`${cluster.host.address}:7401`] }),
  );
  writeFileSync(join(config, 'current'), 'outside\n');
  return config;
}

/** Issues a certificate to an identity of its own; returns the folder that holds it. */
export async function issueTo(cluster: Cluster, role: 'reader' | 'subscriber', name: string): Promise<string> {
  const out = join(cluster.configDir, `${role}-${name}`);
  await cluster.berth(['certificate', 'issue', role, name, '--out', out]);
  return out;
}
