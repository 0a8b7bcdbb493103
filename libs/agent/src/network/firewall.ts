import { execFile } from 'node:child_process';
import { BerthError } from '@berth/kernel';
import type { FirewallChange, FirewallSets, FirewallState } from '../domain/network/firewall.ts';
import type { Firewall } from '../service/network/ports.ts';
import { chainRules, nftScript } from './nft-table.ts';

const commandTimeoutMs = 10_000;
const outputMaxBytes = 16 * 1024 * 1024;

export interface HostFirewallOptions {
  /** Cluster's id: names the table and marks the rules in DOCKER-USER. */
  readonly clusterId: string;
  /** Runs a command with input; the default runs it on this host. */
  readonly run?: (file: string, args: readonly string[], input?: string) => Promise<string>;
}

/** The host's packet filter, through nft and, for Docker's DOCKER-USER chain, iptables. */
export class HostFirewall implements Firewall {
  readonly #table: string;
  readonly #comment: string;
  readonly #run: (file: string, args: readonly string[], input?: string) => Promise<string>;

  constructor(options: HostFirewallOptions) {
    this.#table = `berth-${options.clusterId.slice(0, 8)}`;
    this.#comment = `berth ${options.clusterId}`;
    this.#run = options.run ?? runCommand;
  }

  async read(): Promise<FirewallState> {
    const tables = await this.#run('nft', ['list', 'tables', 'inet']);
    const accepts = await this.#readAccepts();
    if (!tables.split('\n').includes(`table inet ${this.#table}`))
      return { table: 'absent', sets: emptySets(), accepts };
    const dump: unknown = JSON.parse(await this.#run('nft', ['-j', 'list', 'table', 'inet', this.#table]));
    return { ...readTable(dump), accepts };
  }

  async apply(change: FirewallChange): Promise<void> {
    const script = nftScript(this.#table, change);
    if (script !== '') await this.#run('nft', ['-f', '-'], script);
    for (const pair of change.removeAccepts)
      await this.#run('iptables', ['-w', '-D', 'DOCKER-USER', ...this.#rule(pair)]);
    for (const pair of change.addAccepts) await this.#run('iptables', ['-w', '-I', 'DOCKER-USER', ...this.#rule(pair)]);
  }

  #rule(pair: string): string[] {
    const [from = '', to = ''] = pair.split(' ');
    return ['-i', from, '-o', to, '-m', 'comment', '--comment', this.#comment, '-j', 'ACCEPT'];
  }

  async #readAccepts(): Promise<Set<string>> {
    const rules = await this.#run('iptables', ['-w', '-S', 'DOCKER-USER']).catch((cause: unknown) => {
      throw new BerthError(
        'FailedPrecondition',
        "Docker's DOCKER-USER chain is missing: run the engine with iptables enabled (no --iptables=false, no firewall-backend=nftables)",
        { reason: 'NO_DOCKER_USER_CHAIN', cause },
      );
    });
    const pairs = new Set<string>();
    for (const rule of rules.split('\n')) {
      if (!rule.includes(`--comment "${this.#comment}"`)) continue;
      const from = /-i (\S+)/u.exec(rule)?.[1];
      const to = /-o (\S+)/u.exec(rule)?.[1];
      if (from !== undefined && to !== undefined) pairs.add(`${from} ${to}`);
    }
    return pairs;
  }
}

function emptySets(): FirewallSets {
  return { bridges: new Set(), gateways: new Set(), peers: new Set(), internal: new Set() };
}

interface NftObject {
  readonly set?: { readonly name: string; readonly elem?: readonly unknown[] };
  readonly rule?: { readonly chain: string };
}

/** Reads `nft -j list table` (libnftables-json(5)). */
function readTable(dump: unknown): Pick<FirewallState, 'table' | 'sets'> {
  const objects = (dump as { nftables?: readonly NftObject[] }).nftables ?? [];
  const rules: Record<string, number> = {};
  const sets: Record<string, Set<string>> = {};
  for (const object of objects) {
    if (object.rule) rules[object.rule.chain] = (rules[object.rule.chain] ?? 0) + 1;
    if (object.set) sets[object.set.name] = new Set((object.set.elem ?? []).map(elementOf));
  }
  const { bridges, gateways, peers, internal } = sets;
  const whole = Object.entries(chainRules).every(([chain, count]) => rules[chain] === count);
  if (!whole || !bridges || !gateways || !peers || !internal) return { table: 'damaged', sets: emptySets() };
  return { table: 'ok', sets: { bridges, gateways, peers, internal } };
}

function elementOf(element: unknown): string {
  if (typeof element === 'string') return element;
  const parts = (element as { concat?: readonly unknown[] }).concat ?? [];
  return parts.join(' ');
}

function runCommand(file: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: commandTimeoutMs, maxBuffer: outputMaxBytes, encoding: 'utf8' } as const;
    const child = execFile(file, [...args], options, (error, stdout, stderr) => {
      if (!error) resolve(stdout);
      else {
        const message = `${file} ${args.join(' ')}: ${stderr.trim() || error.message}`;
        reject(new BerthError('Unavailable', message, { reason: 'HOST_COMMAND_FAILED', cause: error }));
      }
    });
    // A program that ends before it has read all says why with its exit code.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });
}
