import type { NetworkInspectInfo } from 'dockerode';
import { label } from '../domain/labels.ts';
import type { EngineNetwork, EngineNetworkSpec } from '../domain/task-network.ts';
import type { EngineNetworks } from '../service/task-network.ts';
import type { DockerCalls } from './docker-calls.ts';
import { engineMessage, inUse, statusOf, translate } from './docker-errors.ts';

const bridgeNameOption = 'com.docker.network.bridge.name';
const hostBindingOption = 'com.docker.network.bridge.host_binding_ipv4';

/** The engine's bridge networks that carry the cluster's label. */
export class DockerNetworks implements EngineNetworks {
  readonly #calls: DockerCalls;
  readonly #clusterId: string;

  constructor(calls: DockerCalls, clusterId: string) {
    this.#calls = calls;
    this.#clusterId = clusterId;
  }

  async list(): Promise<readonly EngineNetwork[]> {
    const found = await this.#calls.networks(`${label.cluster}=${this.#clusterId}`);
    return found.map(engineNetwork).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async create(spec: EngineNetworkSpec): Promise<void> {
    // The engine takes two networks of one name; `CheckDuplicate` makes it refuse the second.
    try {
      await this.#calls.docker.createNetwork({
        Name: spec.name,
        CheckDuplicate: true,
        Driver: 'bridge',
        IPAM: { Driver: 'default', Config: [{ Subnet: spec.subnet, Gateway: spec.gateway }] },
        Options: { ...(await this.#hostBinding()), ...spec.options, [bridgeNameOption]: spec.bridge },
        Labels: { ...spec.labels, [label.cluster]: this.#clusterId },
      });
    } catch (error) {
      if (statusOf(error) === 409) return;
      throw translate(error, `create network ${spec.name}`);
    }
  }

  /**
   * The engine's `--ip`, the address of ports published without one, holds for its default network alone; ours follow
   * it, so that an engine kept to 127.0.0.1 is so for tasks too.
   */
  async #hostBinding(): Promise<Record<string, string>> {
    try {
      const { Options } = (await this.#calls.docker.getNetwork('bridge').inspect()) as NetworkInspectInfo;
      const address = Options?.[hostBindingOption];
      return address && address !== '0.0.0.0' ? { [hostBindingOption]: address } : {};
    } catch (error) {
      // An engine may run without a default network.
      if (statusOf(error) === 404) return {};
      throw translate(error, 'inspect the default network');
    }
  }

  async remove(name: string): Promise<void> {
    try {
      await this.#calls.docker.getNetwork(name).remove();
    } catch (error) {
      if (statusOf(error) === 404) return;
      if (statusOf(error) === 403 && engineMessage(error).includes('active endpoints')) {
        throw inUse('NETWORK_IN_USE', `network ${name} is in use: ${engineMessage(error)}`, error);
      }
      throw translate(error, `remove network ${name}`);
    }
  }
}

function engineNetwork(info: NetworkInspectInfo): EngineNetwork {
  const config = info.IPAM?.Config?.[0];
  return {
    id: info.Id,
    name: info.Name,
    bridge: info.Options?.[bridgeNameOption] ?? '',
    subnet: config?.Subnet ?? '',
    gateway: config?.Gateway ?? '',
    labels: info.Labels ?? {},
    containers: Object.keys(info.Containers ?? {}),
  };
}
