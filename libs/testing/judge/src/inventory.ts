import type { Host } from '@berth/testing-hosts';
import { askEngine, containersOf } from './engine.ts';
import { isApplication } from './observation.ts';
import type { Inventory } from './rules/leftovers.ts';

/** Kind → shell command that prints one thing a line, in the host's namespaces. */
const kernelCommands = {
  device: 'ip -o link',
  address: 'ip -o -4 addr',
  route: 'ip -4 route show table all',
  rule: 'ip rule',
  neighbour: 'ip neigh show',
  forwarding: 'bridge fdb show',
  firewall: 'nft -s list ruleset',
  namespace: "awk '/ - nsfs / { print $5 }' /proc/self/mountinfo",
} as const;

/** What stands on a host: kernel, and the engine's containers, networks and volumes. */
export async function inventoryOf(host: Host): Promise<Inventory> {
  const [kernel, containers, networks, volumes] = await Promise.all([
    kernelOf(host),
    containersOf(host.name, host.socket),
    askEngine<{ Name: string }[]>(host.socket, '/networks'),
    askEngine<{ Volumes: { Name: string }[] | null }>(host.socket, '/volumes'),
  ]);
  return {
    ...kernel,
    container: containers.filter(isApplication).map(({ name }) => name),
    // The agent and what it runs of itself: which run it is says nothing of what is left.
    'container of Berth': containers
      .filter((each) => !isApplication(each))
      .map(({ name }) => name.replace(/-\d+$/u, '')),
    'engine network': networks.map(({ Name }) => Name),
    volume: (volumes.Volumes ?? []).map(({ Name }) => Name),
  };
}

async function kernelOf(host: Host): Promise<Inventory> {
  const script = Object.entries(kernelCommands)
    .map(([kind, command]) => `echo '# ${kind}'; ${command}`)
    .join('\n');
  return parseKernel(await host.exec(['sh', '-c', `${script}\ntrue`]));
}

/** Reads what the commands print, without what changes by itself. */
export function parseKernel(output: string): Inventory {
  const sections = output.split(/^# (?=\w+$)/mu).slice(1);
  return Object.fromEntries(
    sections.map((section) => {
      const [kind = '', ...lines] = section.split('\n');
      return [kind, linesOf(kind, lines)];
    }),
  );
}

function linesOf(kind: string, lines: readonly string[]): string[] {
  const plain = lines.map((line) => line.trim().replaceAll(/\s+/gu, ' ')).filter(Boolean);
  switch (kind) {
    case 'device':
      // Number and state say nothing of who is there: a bridge's carrier comes and goes.
      return plain.map((line) => `${line.replace(/^\d+: ([^:@]+).*$/u, '$1')}`);
    case 'address':
      return plain.map((line) => line.replace(/^\d+: (\S+) inet (\S+).*$/u, '$1 $2'));
    case 'route':
      return plain.map((line) => line.replaceAll(/ (?:linkdown|dead)\b/gu, ''));
    case 'neighbour':
      // What the kernel learned it forgets; what was written stays.
      return plain.filter((line) => /PERMANENT|NOARP|extern_learn/u.test(line));
    case 'forwarding':
      // The engine gives its own bridge a new address at each start.
      return plain.filter((line) => /permanent|static|extern_learn|dst/u.test(line) && !/ dev docker0 /u.test(line));
    case 'namespace':
      // Not the lab's own, nor the engine's: those go with its containers.
      return plain.filter((path) => !/^(?:\/var)?\/run\/(?:netns\/berth-l|docker\/netns\/)/u.test(path));
    case 'firewall':
      // The policy of FORWARD is the engine's own: `drop` where it was the one that turned forwarding on.
      return plain
        .filter((line) => line !== '}' && !line.startsWith('#'))
        .map((line) => line.replace(/^(type filter hook forward priority filter;) policy \w+;$/u, '$1'));
    default:
      return plain;
  }
}
