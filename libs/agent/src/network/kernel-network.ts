import type { HostLink, KernelChange, KernelState, VxlanDevice } from '../domain/network/kernel.ts';
import { routeMetric, routeProtocol } from '../domain/network/kernel.ts';
import { overlayPrefix } from '../domain/network/overlay-names.ts';
import type { KernelNetwork } from '../service/network/ports.ts';
import type { RunCommand } from './run-command.ts';
import { runCommand } from './run-command.ts';

export interface HostKernelNetworkOptions {
  readonly clusterId: string;
  /** Address at which this host is reached. */
  readonly address: string;
  /** Default: on this host. */
  readonly run?: RunCommand;
}

/** The host's devices, neighbours, forwarding entries and routes, through `ip` and `bridge` in batches. */
export class HostKernelNetwork implements KernelNetwork {
  readonly #clusterId: string;
  readonly #address: string;
  readonly #run: RunCommand;

  constructor(options: HostKernelNetworkOptions) {
    this.#clusterId = options.clusterId;
    this.#address = options.address;
    this.#run = options.run ?? runCommand;
  }

  async read(): Promise<{ readonly link: HostLink | undefined; readonly state: KernelState }> {
    const queries = [
      `address show to ${this.#address}`,
      'link show type vxlan',
      'neigh show nud permanent',
      `route show proto ${routeProtocol} metric ${routeMetric(this.#clusterId)}`,
    ];
    const [addresses, links, neighbours, routes] = await this.#dump('ip', queries);
    const devices = devicesOf((links ?? []) as Link[], overlayPrefix(this.#clusterId));
    const dumps = [...devices.keys()].map((device) => `fdb show dev ${device}`);
    const tables = dumps.length > 0 ? await this.#dump('bridge', dumps) : [];
    const forwards = [...devices].flatMap(([name, { port }], i) => forwardsOf((tables[i] ?? []) as Fdb[], name, port));
    // Devices that do not match are printed as empty objects.
    const link = ((addresses ?? []) as Partial<Link>[]).find(({ ifname }) => ifname !== undefined);
    return {
      link: link?.ifname !== undefined && link.mtu !== undefined ? { device: link.ifname, mtu: link.mtu } : undefined,
      state: {
        devices,
        neighbours: new Map(
          ((neighbours ?? []) as Neighbour[])
            .filter(({ dev }) => devices.has(dev))
            .map(({ dst, dev, lladdr }) => [`${dst} dev ${dev}`, lladdr]),
        ),
        forwards: new Map(forwards),
        routes: new Map(((routes ?? []) as Route[]).map((route) => [route.dst, wayOf(route)])),
      },
    };
  }

  async apply({ ip, bridge }: KernelChange): Promise<void> {
    // With -force the lines after one that fails are carried out; which failed is said in the end.
    if (ip.length > 0) await this.#run('ip', ['-force', '-batch', '-'], `${ip.join('\n')}\n`);
    if (bridge.length > 0) await this.#run('bridge', ['-force', '-batch', '-'], `${bridge.join('\n')}\n`);
  }

  /** One JSON document a query. */
  async #dump(program: 'ip' | 'bridge', queries: readonly string[]): Promise<unknown[]> {
    const output = await this.#run(program, ['-j', '-d', '-batch', '-'], `${queries.join('\n')}\n`);
    return output.split('\n').flatMap((line) => (line.trim() === '' ? [] : [JSON.parse(line)]));
  }
}

interface Link {
  readonly ifname: string;
  readonly mtu: number;
  readonly address: string;
  readonly flags: readonly string[];
  readonly linkinfo?: { readonly info_data?: { readonly id: number; readonly local?: string; readonly port: number } };
}
interface Neighbour {
  readonly dst: string;
  readonly dev: string;
  readonly lladdr: string;
}
interface Fdb {
  readonly mac: string;
  readonly dst?: string;
  readonly port?: number;
}
interface Route {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly prefsrc?: string;
  readonly flags?: readonly string[];
}

function devicesOf(links: readonly Link[], prefix: string): Map<string, VxlanDevice> {
  return new Map(
    links
      .filter(({ ifname }) => ifname?.startsWith(prefix))
      .map(({ ifname, mtu, address, flags, linkinfo }) => {
        const { id = 0, local = '', port = 0 } = linkinfo?.info_data ?? {};
        return [ifname, { vni: id, mac: address, local, port, mtu, up: flags.includes('UP') }];
      }),
  );
}

/** The kernel leaves out a port that is the device's own. */
function forwardsOf(entries: readonly Fdb[], device: string, ownPort: number): [string, string][] {
  return entries.flatMap(({ mac, dst, port = ownPort }) =>
    dst === undefined ? [] : [[`${mac} dev ${device}`, `dst ${dst} port ${port}`]],
  );
}

function wayOf({ gateway, dev, prefsrc, flags }: Route): string {
  return [
    ...(gateway === undefined ? [] : [`via ${gateway}`]),
    `dev ${dev}`,
    ...(prefsrc === undefined ? [] : [`src ${prefsrc}`]),
    ...(flags?.includes('onlink') ? ['onlink'] : []),
  ].join(' ');
}
