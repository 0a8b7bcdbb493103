/** What DNS needs of an endpoint; the registry's Endpoint satisfies it. */
export interface DnsEndpoint {
  readonly taskId: string;
  readonly networkId: string;
  /** Names under which it is found, beside its own. */
  readonly names: readonly string[];
  /** The task's own name. */
  readonly taskName: string;
  readonly ip: string;
  /** Only a healthy one is given to callers. */
  readonly healthy: boolean;
}

/** What a caller may know of a name: addresses of healthy tasks (none: it exists, but nothing healthy serves it), or
 *  nothing at all. */
export type NameLookup = { readonly kind: 'known'; readonly ips: readonly string[] } | { readonly kind: 'unknown' };

interface Zone {
  readonly byTask: Map<string, DnsEndpoint>;
  readonly byName: Map<string, Map<string, DnsEndpoint>>;
  readonly byIp: Map<string, DnsEndpoint>;
}

/**
 * Names of the networks that this node carries, seen with the eyes of the container that asks: by its address it is known
 * which networks it is on, and it sees the names of those and no others. Every change costs what it touches.
 */
export class DnsTable {
  readonly #zones = new Map<string, Zone>();
  /** Address of a local container, on any of its networks → all its networks. */
  readonly #clients = new Map<string, readonly string[]>();

  /** Replaces all endpoints of a network. */
  resetNetwork(networkId: string, endpoints: Iterable<DnsEndpoint>): void {
    this.#zones.set(networkId, { byTask: new Map(), byName: new Map(), byIp: new Map() });
    for (const endpoint of endpoints) this.put(endpoint);
  }

  /** Forgets a network. */
  removeNetwork(networkId: string): void {
    this.#zones.delete(networkId);
  }

  /** Adds or changes an endpoint. */
  put(endpoint: DnsEndpoint): void {
    this.delete(endpoint.networkId, endpoint.taskId);
    const zone = this.#zone(endpoint.networkId);
    zone.byTask.set(endpoint.taskId, endpoint);
    zone.byIp.set(endpoint.ip, endpoint);
    for (const name of namesOf(endpoint)) {
      const tasks = zone.byName.get(name);
      if (tasks) tasks.set(endpoint.taskId, endpoint);
      else zone.byName.set(name, new Map([[endpoint.taskId, endpoint]]));
    }
  }

  /** Removes an endpoint, if it is there. */
  delete(networkId: string, taskId: string): void {
    const zone = this.#zones.get(networkId);
    const endpoint = zone?.byTask.get(taskId);
    if (!zone || !endpoint) return;
    zone.byTask.delete(taskId);
    if (zone.byIp.get(endpoint.ip)?.taskId === taskId) zone.byIp.delete(endpoint.ip);
    for (const name of namesOf(endpoint)) {
      const tasks = zone.byName.get(name);
      tasks?.delete(taskId);
      if (tasks?.size === 0) zone.byName.delete(name);
    }
  }

  /** Tells the networks of a local container, under each of its addresses. */
  setClient(ips: readonly string[], networkIds: readonly string[]): void {
    for (const ip of ips) this.#clients.set(ip, networkIds);
  }

  /** Forgets a local container. */
  removeClient(ips: readonly string[]): void {
    for (const ip of ips) this.#clients.delete(ip);
  }

  /** Networks of the container at an address; undefined if no container of this node has it. */
  networksOf(clientIp: string): readonly string[] | undefined {
    return this.#clients.get(clientIp);
  }

  /** Looks a name up over all networks of the asking container. Names are compared without regard to case. */
  lookup(networkIds: readonly string[], name: string): NameLookup {
    const wanted = normal(name);
    const ips = new Set<string>();
    let known = false;
    for (const networkId of networkIds) {
      const tasks = this.#zones.get(networkId)?.byName.get(wanted);
      if (!tasks) continue;
      known = true;
      for (const endpoint of tasks.values()) if (endpoint.healthy) ips.add(endpoint.ip);
    }
    return known ? { kind: 'known', ips: [...ips] } : { kind: 'unknown' };
  }

  /** Name of the task at an address, if the asking container shares a network with it. */
  reverse(networkIds: readonly string[], ip: string): string | undefined {
    for (const networkId of networkIds) {
      const endpoint = this.#zones.get(networkId)?.byIp.get(ip);
      if (endpoint) return normal(endpoint.taskName);
    }
    return undefined;
  }

  #zone(networkId: string): Zone {
    const held = this.#zones.get(networkId);
    if (held) return held;
    const zone: Zone = { byTask: new Map(), byName: new Map(), byIp: new Map() };
    this.#zones.set(networkId, zone);
    return zone;
  }
}

function namesOf(endpoint: DnsEndpoint): Set<string> {
  return new Set([...endpoint.names, endpoint.taskName].map(normal));
}

function normal(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}
