import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { tryRun } from '../system/run.ts';

/** What a Docker Engine changes on its machine outside its own folders. */
export interface MachineState {
  /** Value by file below /proc/sys. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** `iptables -S` by `program table`: policies, chains and rules. */
  readonly rules: Readonly<Record<string, readonly string[]>>;
  /** nftables' tables, as `family table`, and chains, as `family table chain`. */
  readonly tables: readonly string[];
  readonly chains: readonly string[];
  /** Network devices. */
  readonly devices: readonly string[];
  /** Those of {@link engineFiles} that exist. */
  readonly files: readonly string[];
}

/** Files and folders outside its own that an engine makes, deepest first. */
export const engineFiles = [
  '/etc/docker/key.json',
  '/etc/docker',
  '/run/docker/plugins',
  '/run/docker',
  '/run/containerd/s',
  '/run/containerd',
];

/** Forwarding, and what the kernel or an engine changes together with it. */
const sysctlPatterns = [
  'net/ipv4/ip_forward',
  'net/ipv4/conf/*/{forwarding,accept_redirects,route_localnet}',
  'net/ipv6/conf/*/{forwarding,accept_ra,disable_ipv6}',
  'net/bridge/bridge-nf-call-*',
  'kernel/keys/root_max*',
];

const ruleTables = ['iptables', 'ip6tables'].flatMap((program) =>
  ['filter', 'nat', 'mangle', 'raw'].map((table) => [program, table] as const),
);

export async function readMachineState(): Promise<MachineState> {
  const rules = await Promise.all(
    ruleTables.map(async ([program, table]) => [`${program} ${table}`, await readRules(program, table)] as const),
  );
  return {
    sysctls: readSysctls(),
    rules: Object.fromEntries(rules),
    ...(await readTables()),
    devices: await readDevices(),
    files: engineFiles.filter((file) => existsSync(file)),
  };
}

/** As `iptables -S`; nothing where the machine has no iptables. */
export async function readRules(program: string, table: string): Promise<string[]> {
  return lines((await tryRun([program, '-w', '-t', table, '-S'])).stdout);
}

interface NftObject {
  readonly table?: { readonly family: string; readonly name: string };
  readonly chain?: { readonly family: string; readonly table: string; readonly name: string };
}

/** Nothing where the machine has no nftables. */
export async function readTables(): Promise<Pick<MachineState, 'tables' | 'chains'>> {
  const { code, stdout } = await tryRun(['nft', '--json', 'list', 'ruleset']);
  if (code !== 0) return { tables: [], chains: [] };
  const { nftables } = JSON.parse(stdout) as { nftables: NftObject[] };
  return {
    tables: nftables.flatMap(({ table }) => (table ? [`${table.family} ${table.name}`] : [])),
    chains: nftables.flatMap(({ chain }) => (chain ? [`${chain.family} ${chain.table} ${chain.name}`] : [])),
  };
}

/** All network devices, or those of one type. */
export async function readDevices(...type: ['type', string] | []): Promise<string[]> {
  const listed = (await tryRun(['ip', '-o', 'link', 'show', ...type])).stdout;
  return lines(listed).map((line) => (line.split(': ')[1] ?? '').replace(/@.*/, ''));
}

function readSysctls(): Record<string, string> {
  const keys = globSync(sysctlPatterns, { cwd: '/proc/sys' });
  return Object.fromEntries(keys.map((key) => [key, readFileSync(`/proc/sys/${key}`, 'utf8').trim()]));
}

/** Gives those that still exist their earlier values; ip_forward first, for the kernel changes others along with it. */
export function restoreSysctls(before: Readonly<Record<string, string>>): void {
  const forwardFirst = Object.entries(before).sort(
    ([a], [b]) => Number(b.endsWith('/ip_forward')) - Number(a.endsWith('/ip_forward')),
  );
  for (const [key, value] of forwardFirst) {
    const file = `/proc/sys/${key}`;
    if (existsSync(file) && readFileSync(file, 'utf8').trim() !== value) writeFileSync(file, value);
  }
}

function lines(text: string): string[] {
  return text.split('\n').filter(Boolean);
}
