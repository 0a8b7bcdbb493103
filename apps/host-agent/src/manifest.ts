import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ClusterState } from '@berth/agent';
import { loadStack, renderProblems } from '@berth/compose';
import type { StackSpec } from '@berth/contracts/workload';
import { BerthError } from '@berth/kernel';
import type { Config } from './config.ts';

/** The profile of the second replicas. */
const highlyAvailable = 'ha';

const images = ['etcd', 'nats', 'bootstrap', 'registry', 'scheduler', 'network-manager'] as const;

/**
 * What the manifest is filled in with. Everything comes from the cluster's settings and the agent's configuration: the
 * same after each restart, or the control plane would be taken for a changed one.
 */
export function manifestVariables(
  config: Config,
  cluster: ClusterState,
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const variables: Record<string, string> = {
    BERTH_STATE_DIR: config.stateDir,
    BERTH_CLUSTER_ID: cluster.clusterId,
    BERTH_ADVERTISE: cluster.advertise,
    BERTH_NETWORK_POOL: cluster.networkPool,
    BERTH_RANGE_PREFIX: String(cluster.rangePrefix),
    BERTH_BLOCK_PREFIX: String(cluster.blockPrefix),
    BERTH_JOIN_TOKEN_HASH: cluster.tokenHash,
    BERTH_SIGN_PORT: String(config.signPort),
    BERTH_REGISTRY_PORT: String(config.registryPort),
    BERTH_JOIN_PORT: String(config.joinPort),
    BERTH_REGISTRY_HTTP_PORT: String(config.registryHttpPort),
    BERTH_SCHEDULER_PORT: String(config.schedulerPort),
    BERTH_SCHEDULER_HTTP_PORT: String(config.schedulerHttpPort),
    BERTH_NETWORK_MANAGER_PORT: String(config.networkManagerPort),
    BERTH_NETWORK_MANAGER_HTTP_PORT: String(config.networkManagerHttpPort),
    BERTH_ETCD_PORT: String(config.etcdPort),
    BERTH_ETCD_PEER_PORT: String(config.etcdPeerPort),
    BERTH_ETCD_METRICS_PORT: String(config.etcdMetricsPort),
    BERTH_NATS_PORT: String(config.natsPort),
    BERTH_NATS_HTTP_PORT: String(config.natsHttpPort),
    BERTH_REGISTRY_ADDRESSES: replicaAddresses(config, cluster.advertise, config.registryPort).join(','),
    BERTH_LOG_LEVEL: config.logLevel,
    ...replicaPorts(config),
  };
  for (const image of images) {
    const name = `BERTH_IMAGE_${image.toUpperCase().replaceAll('-', '_')}`;
    variables[name] = env[name] || `berth/${image}:${config.imageTag}`;
  }
  return variables;
}

/** Where the replicas of one of this manager's services are reached that serves the first one at `port`. */
export function replicaAddresses(
  config: Pick<Config, 'profiles' | 'replicaPortOffset'>,
  advertise: string,
  port: number,
): string[] {
  const ports = config.profiles.includes(highlyAvailable) ? [port, port + config.replicaPortOffset] : [port];
  return ports.map((each) => `${advertise}:${each}`);
}

function replicaPorts(config: Config): Record<string, string> {
  const first = {
    BERTH_REGISTRY_2_PORT: config.registryPort,
    BERTH_JOIN_2_PORT: config.joinPort,
    BERTH_REGISTRY_2_HTTP_PORT: config.registryHttpPort,
    BERTH_SCHEDULER_2_PORT: config.schedulerPort,
    BERTH_SCHEDULER_2_HTTP_PORT: config.schedulerHttpPort,
    BERTH_NETWORK_MANAGER_2_PORT: config.networkManagerPort,
    BERTH_NETWORK_MANAGER_2_HTTP_PORT: config.networkManagerHttpPort,
  };
  return Object.fromEntries(
    Object.entries(first).map(([name, port]) => [name, String(port + config.replicaPortOffset)]),
  );
}

/** Reads the control plane's Compose file. FailedPrecondition with reason BAD_MANIFEST and all its problems. */
export function loadManifest(
  path: string,
  variables: Readonly<Record<string, string>>,
  profiles: readonly string[] = [],
): StackSpec {
  const text = readFileSync(path, 'utf8');
  const result = loadStack({
    files: [{ path, text }],
    env: variables,
    workingDir: dirname(path),
    projectName: 'berth',
    profiles,
  });
  if (result.ok) return result.spec;
  throw new BerthError(
    'FailedPrecondition',
    `the manifest of the control plane is no good:\n${renderProblems(result.problems)}`,
    { reason: 'BAD_MANIFEST' },
  );
}
