import { nearest } from './text/nearest.ts';

/** What Berth does with the keys of one place in a Compose file. `x-` keys are always allowed. */
export interface Level {
  /** Keys that are read. */
  readonly supported: readonly string[];
  /** Keys that the Compose specification knows and Berth refuses, with what to do instead. */
  readonly refused: Readonly<Record<string, string>>;
}

/** Why a key is refused; undefined when it is read or an extension. */
export function unknownKey(
  key: string,
  level: Level,
): { readonly message: string; readonly remedy: string } | undefined {
  if (level.supported.includes(key) || key.startsWith('x-')) return undefined;
  const refused = Object.hasOwn(level.refused, key) ? level.refused[key] : undefined;
  if (refused !== undefined) {
    return { message: `the key "${key}" is not supported by this version of Berth`, remedy: refused };
  }
  const similar = nearest(key, [...level.supported, ...Object.keys(level.refused)]);
  return {
    message: `unknown key "${key}"`,
    remedy:
      similar === undefined
        ? 'remove it, or prefix it with "x-" if it is a note of your own'
        : `did you mean "${similar}"? Otherwise remove it, or prefix it with "x-"`,
  };
}

const remove = 'remove the key';
const secretsAdvice = 'pass the file with a read-only bind mount under `volumes`, or the value under `environment`';
const cpuAdvice = 'set deploy.resources.limits.cpus';
const memoryAdvice = 'set deploy.resources.limits.memory';

export const topLevel: Level = {
  supported: ['name', 'version', 'services', 'networks', 'volumes'],
  refused: {
    configs: 'pass the file with a read-only bind mount under `volumes` of the service',
    secrets: 'pass the file with a read-only bind mount under `volumes` of the service',
    include: 'pass the included files with several -f',
    models: remove,
  },
};

export const serviceLevel: Level = {
  supported: [
    'cap_add',
    'cap_drop',
    'command',
    'depends_on',
    'deploy',
    'entrypoint',
    'env_file',
    'environment',
    'expose',
    'extra_hosts',
    'healthcheck',
    'hostname',
    'image',
    'init',
    'labels',
    'network_mode',
    'networks',
    'ports',
    'profiles',
    'read_only',
    'restart',
    'scale',
    'stop_grace_period',
    'stop_signal',
    'sysctls',
    'tmpfs',
    'ulimits',
    'user',
    'volumes',
    'working_dir',
  ],
  refused: {
    annotations: 'use `labels`',
    attach: remove,
    blkio_config: remove,
    build: 'build the image yourself (docker build -t NAME .) and name it with `image: NAME`',
    cgroup: remove,
    cgroup_parent: remove,
    configs: secretsAdvice,
    container_name: 'remove the key: other services find this one by its service name, or by an alias under `networks`',
    cpu_count: cpuAdvice,
    cpu_percent: cpuAdvice,
    cpu_period: cpuAdvice,
    cpu_quota: cpuAdvice,
    cpu_rt_period: remove,
    cpu_rt_runtime: remove,
    cpu_shares: 'set deploy.resources.reservations.cpus',
    cpus: cpuAdvice,
    cpuset: cpuAdvice,
    credential_spec: remove,
    develop: 'remove the key: it only serves `docker compose watch`',
    device_cgroup_rules: remove,
    devices: 'remove the key; devices of the host cannot be passed to tasks yet',
    dns: 'remove the key: the node answers DNS for its containers and forwards the rest',
    dns_opt: 'remove the key: the node answers DNS for its containers',
    dns_search: 'remove the key and use full names',
    domainname: 'write the full name under `hostname`',
    extends: 'copy the keys into this service, share them with a YAML anchor, or pass several files with -f',
    external_links: 'put both services into one stack on a common network',
    gpus: remove,
    group_add: 'set `user: uid:gid`',
    ipc: remove,
    isolation: remove,
    label_file: 'write the labels under `labels`',
    links:
      'remove the key: services of a common network find each other by name; for another name use networks.<network>.aliases',
    logging: 'remove the key: `berth logs` reads the logs of every task',
    mac_address: remove,
    mem_limit: memoryAdvice,
    mem_reservation: 'set deploy.resources.reservations.memory',
    mem_swappiness: remove,
    memswap_limit: memoryAdvice,
    models: remove,
    oom_kill_disable: memoryAdvice,
    oom_score_adj: remove,
    pid: remove,
    pids_limit: 'remove the key, or set ulimits.nproc',
    platform: 'remove the key and name an image for the node’s platform',
    post_start: 'start the command from the image’s entrypoint',
    pre_stop: 'handle `stop_signal` in the image',
    privileged: 'remove the key and add the capabilities that are needed with `cap_add`',
    provider: remove,
    pull_policy: 'remove the key: a missing image is pulled',
    runtime: remove,
    secrets: secretsAdvice,
    security_opt: remove,
    shm_size: 'mount a tmpfs of that size at /dev/shm: `tmpfs: /dev/shm:size=64m`',
    stdin_open: 'remove the key: tasks run without a terminal; `berth exec` opens one',
    storage_opt: remove,
    tty: 'remove the key: tasks run without a terminal; `berth exec` opens one',
    use_api_socket: remove,
    userns_mode: remove,
    uts: remove,
    volumes_from: 'name the same volumes under `volumes` of this service',
  },
};

export const deployLevel: Level = {
  supported: ['labels', 'mode', 'placement', 'replicas', 'resources', 'restart_policy'],
  refused: {
    endpoint_mode: 'remove the key: a name answers with the addresses of the healthy tasks',
    rollback_config: 'remove the key: a failed update stops and is shown',
    update_config: 'remove the key: an update goes slot by slot and stops at the first failure',
  },
};

export const resourcesLevel: Level = { supported: ['limits', 'reservations'], refused: {} };
export const limitsLevel: Level = {
  supported: ['cpus', 'memory'],
  refused: { pids: 'remove the key, or set ulimits.nproc' },
};
export const reservationsLevel: Level = {
  supported: ['cpus', 'memory'],
  refused: {
    devices: remove,
    generic_resources: 'label the nodes and set deploy.placement.constraints',
    pids: remove,
  },
};
export const restartPolicyLevel: Level = { supported: ['condition', 'delay', 'max_attempts', 'window'], refused: {} };
export const placementLevel: Level = {
  supported: ['constraints'],
  refused: {
    max_replicas_per_node: 'remove the key: tasks are spread over the nodes anyway',
    preferences: 'remove the key: tasks are spread over the nodes anyway',
  },
};
export const healthcheckLevel: Level = {
  supported: ['disable', 'interval', 'retries', 'start_period', 'test', 'timeout'],
  refused: {
    start_interval: 'remove the key (Docker Engine knows it only from version 25 on); use a shorter `interval`',
  },
};
export const dependencyLevel: Level = { supported: ['condition', 'required', 'restart'], refused: {} };
export const envFileLevel: Level = { supported: ['path', 'required', 'format'], refused: {} };
export const ulimitLevel: Level = { supported: ['soft', 'hard'], refused: {} };
export const portLevel: Level = {
  supported: ['app_protocol', 'host_ip', 'mode', 'name', 'protocol', 'published', 'target'],
  refused: {},
};
export const mountLevel: Level = {
  supported: ['bind', 'consistency', 'read_only', 'source', 'target', 'tmpfs', 'type', 'volume'],
  refused: { image: 'use a volume of type volume, bind or tmpfs' },
};
export const bindLevel: Level = {
  supported: ['create_host_path', 'propagation', 'selinux'],
  refused: { recursive: 'remove the key; set `propagation` where submounts matter' },
};
export const mountVolumeLevel: Level = {
  supported: ['nocopy'],
  refused: {
    labels: 'write the labels under the volume at the top level',
    subpath: 'mount the whole volume, or use another volume',
  },
};
export const mountTmpfsLevel: Level = { supported: ['mode', 'size'], refused: {} };
export const attachmentLevel: Level = {
  supported: ['aliases'],
  refused: {
    driver_opts: 'write them under the network at the top level',
    gw_priority: remove,
    interface_name: remove,
    ipv4_address: 'remove the key: addresses are given out by the cluster; use the service’s name',
    ipv6_address: 'remove the key: addresses are given out by the cluster; use the service’s name',
    link_local_ips: remove,
    mac_address: remove,
    priority: remove,
  },
};

const externalNetwork =
  'remove the key: each stack has networks of its own; put services that talk to each other into one stack';

export const networkLevel: Level = {
  supported: ['driver', 'driver_opts', 'external', 'internal', 'name'],
  refused: {
    attachable: remove,
    enable_ipv4: remove,
    enable_ipv6: remove,
    ipam: 'remove the key: address ranges come out of the cluster’s pool',
    labels: remove,
  },
};
export const volumeLevel: Level = {
  supported: ['driver', 'driver_opts', 'external', 'labels', 'name'],
  refused: {},
};

/** Remedies for `external: true`. */
export const externalRemedies = {
  network: externalNetwork,
  volume: 'remove `external` and let Berth create the volume; `name:` keeps its name',
} as const;
