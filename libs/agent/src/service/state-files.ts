import type { Disk } from '@berth/kernel';

/** The cluster that this host was made the first manager of. Its settings are those of `cluster init`. */
export interface ClusterState {
  readonly clusterId: string;
  readonly advertise: string;
  readonly networkPool: string;
  readonly rangePrefix: number;
  readonly blockPrefix: number;
  readonly operator: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Milliseconds since 1970; for show. */
  readonly createdAtMs: number;
  /** What bootstrap stores of the first join token. */
  readonly tokenHash: string;
}

/** The node that this host has become. */
export interface NodeState {
  readonly clusterId: string;
  readonly nodeId: string;
  /** Address at which it is reached. */
  readonly advertise: string;
  /** It was removed from the cluster: what is left of it on this host is to go. */
  readonly leaving?: boolean;
}

const clusterFile = 'cluster.json';
const nodeFile = 'node.json';
const tokenFile = 'join-token';

/** What an agent is, on its own disk. */
export class StateFiles {
  /** Name of the file that makes a host a node. */
  readonly nodeFile = nodeFile;
  readonly #disk: Disk;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  cluster(): Promise<ClusterState | undefined> {
    return this.#json<ClusterState>(clusterFile);
  }

  saveCluster(cluster: ClusterState): Promise<void> {
    return this.#disk.write(clusterFile, text(`${JSON.stringify(cluster, undefined, 2)}\n`));
  }

  node(): Promise<NodeState | undefined> {
    return this.#json<NodeState>(nodeFile);
  }

  saveNode(node: NodeState): Promise<void> {
    return this.#disk.write(nodeFile, text(`${JSON.stringify(node, undefined, 2)}\n`));
  }

  /** A join token: a manager joins with the first one, until `cluster init` has shown it; elsewhere an operator may put
   *  one for a certificate that has ended. */
  async token(): Promise<string | undefined> {
    const bytes = await this.#disk.read(tokenFile);
    return bytes && new TextDecoder().decode(bytes).trim();
  }

  saveToken(token: string): Promise<void> {
    return this.#disk.write(tokenFile, text(`${token}\n`));
  }

  removeToken(): Promise<void> {
    return this.#disk.remove(tokenFile);
  }

  async #json<T>(name: string): Promise<T | undefined> {
    const bytes = await this.#disk.read(name);
    return bytes && (JSON.parse(new TextDecoder().decode(bytes)) as T);
  }
}

function text(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}
