import { isBerthError } from '@berth/kernel';
import type { FirewallChange, FirewallSetName, FirewallState } from '../domain/network/firewall.ts';
import { firewallSetNames, noSets } from '../domain/network/firewall.ts';
import type { Firewall } from '../service/network/ports.ts';
import { acceptMark, chainRules, nftScript } from './nft-table.ts';
import type { RunCommand } from './run-command.ts';
import { runCommand } from './run-command.ts';

/** Docker's chain for others' rules, asked before its own. */
const userChain = 'DOCKER-USER';

export interface HostFirewallOptions {
  /** Cluster's id: names the table and marks the rule in DOCKER-USER. */
  readonly clusterId: string;
  /** Default: on this host. */
  readonly run?: RunCommand;
}

/** The host's packet filter, through nft and, for Docker's DOCKER-USER chain, iptables. */
export class HostFirewall implements Firewall {
  readonly #table: string;
  readonly #comment: string;
  readonly #run: RunCommand;

  constructor(options: HostFirewallOptions) {
    this.#table = `berth-${options.clusterId.slice(0, 8)}`;
    this.#comment = `berth ${options.clusterId}`;
    this.#run = options.run ?? runCommand;
  }

  async read(): Promise<FirewallState> {
    const [dump, rules] = await Promise.all([this.#readTable(), this.#ownRules()]);
    const wanted = `-m mark --mark ${acceptMark}/${acceptMark} -m comment --comment "${this.#comment}" -j ACCEPT`;
    const accept = rules.length === 1 && rules[0] === wanted ? 'ok' : 'damaged';
    return { ...dump, accept: rules.length === 0 ? 'absent' : accept };
  }

  async apply(change: FirewallChange): Promise<void> {
    const script = nftScript(this.#table, change);
    if (script !== '') await this.#run('nft', ['-f', '-'], script);
    if (change.accept === 'keep') return;
    for (const rule of await this.#ownRules()) {
      await this.#run('iptables', ['-w', '-D', userChain, ...words(rule)]);
    }
    if (change.accept === 'remove') return;
    if (!(await this.#hasUserChain())) {
      // Somebody has flushed all rules, Docker's too. It makes chain and jump like this at its next start.
      await this.#run('iptables', ['-w', '-N', userChain]);
      await this.#run('iptables', ['-w', '-I', 'FORWARD', '-j', userChain]);
    }
    const mark = ['-m', 'mark', '--mark', `${acceptMark}/${acceptMark}`];
    const comment = ['-m', 'comment', '--comment', this.#comment];
    await this.#run('iptables', ['-w', '-I', userChain, ...mark, ...comment, '-j', 'ACCEPT']);
  }

  async #readTable(): Promise<Pick<FirewallState, 'table' | 'sets'>> {
    try {
      return tableOf(JSON.parse(await this.#run('nft', ['-j', 'list', 'table', 'inet', this.#table])));
    } catch (error) {
      if (!isBerthError(error) || !error.message.includes('No such file or directory')) throw error;
      return { table: 'absent', sets: noSets };
    }
  }

  /** Rules of this cluster in DOCKER-USER, as iptables prints them after the chain's name. */
  async #ownRules(): Promise<string[]> {
    return (await this.#rules())
      .filter((rule) => rule.includes(`--comment "${this.#comment}"`))
      .map((rule) => rule.replace(`-A ${userChain} `, ''));
  }

  async #hasUserChain(): Promise<boolean> {
    return (await this.#rules()).includes(`-N ${userChain}`);
  }

  /** Of the filter table, all: asking for a chain that is not there is an error like others. */
  async #rules(): Promise<string[]> {
    return (await this.#run('iptables', ['-w', '-S'])).split('\n');
  }
}

/** Arguments as a shell would split them; iptables quotes with double quotes. */
function words(rule: string): string[] {
  return [...rule.matchAll(/"([^"]*)"|(\S+)/gu)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}

interface NftSet {
  readonly name: string;
  readonly elem?: readonly unknown[];
}
interface NftObject {
  readonly set?: NftSet;
  readonly map?: NftSet;
  readonly rule?: { readonly chain: string };
}

/** Reads `nft -j list table` (libnftables-json(5)). */
export function tableOf(dump: unknown): Pick<FirewallState, 'table' | 'sets'> {
  const objects = (dump as { nftables?: readonly NftObject[] }).nftables ?? [];
  const rules: Record<string, number> = {};
  const sets: Partial<Record<FirewallSetName, ReadonlySet<string>>> = {};
  for (const { rule, set, map } of objects) {
    if (rule) rules[rule.chain] = (rules[rule.chain] ?? 0) + 1;
    const found = set ?? map;
    if (found) sets[found.name as FirewallSetName] = new Set((found.elem ?? []).map(elementOf));
  }
  const whole =
    Object.entries(chainRules).every(([chain, count]) => rules[chain] === count) &&
    firewallSetNames.every((name) => sets[name] !== undefined);
  return whole ? { table: 'ok', sets: { ...noSets, ...sets } } : { table: 'damaged', sets: noSets };
}

/** An element as `FirewallSets` has it: its parts with spaces between; of a map, key and value. */
function elementOf(element: unknown): string {
  if (typeof element === 'string' || typeof element === 'number') return String(element);
  if (Array.isArray(element)) return element.map(elementOf).join(' ');
  const { concat, prefix } = element as {
    readonly concat?: readonly unknown[];
    readonly prefix?: { readonly addr: string; readonly len: number };
  };
  if (prefix) return `${prefix.addr}/${prefix.len}`;
  return (concat ?? []).map(elementOf).join(' ');
}
