/** `iptables -S` of one table before and after an engine, as lines. */
export interface RulesChange {
  readonly before: readonly string[];
  readonly now: readonly string[];
  /** The engine's, see {@link engineBridges}. */
  readonly bridges: ReadonlySet<string>;
}

/**
 * The bridges of an engine's networks, whatever their names: those that its own rules in the filter table speak of. In
 * DOCKER-USER the user speaks.
 */
export function engineBridges(rules: readonly string[]): Set<string> {
  const devices = rules
    .filter((line) => /^-A DOCKER| -j DOCKER/.test(line) && !line.includes('DOCKER-USER'))
    .flatMap((line) => [...line.matchAll(/ -[io] (\S+)/g)].map(([, device]) => device ?? ''));
  return new Set(devices);
}

/**
 * The arguments, one list a call of `iptables -t TABLE`, that take away what an engine put into a table and give the
 * chains back their policies. Rules that were there before, and rules that are none of the engine's, stay.
 */
export function removalOfEngineRules({ before, now, bridges }: RulesChange): string[][] {
  const known = new Set(before);
  const isEngineChain = (chain: string): boolean => chain.startsWith('DOCKER') && !known.has(`-N ${chain}`);
  const chains = now.flatMap((line) => (line.startsWith('-N ') ? [line.slice(3)] : [])).filter(isEngineChain);
  const rules = now
    .filter((line) => line.startsWith('-A ') && !known.has(line))
    .map(splitRule)
    .filter(
      ([, chain = '', ...match]) =>
        !isEngineChain(chain) && match.some((word) => isEngineChain(word) || bridges.has(word)),
    );
  const policies = before.filter((line) => line.startsWith('-P ') && !now.includes(line));
  return [
    ...rules.map(([, ...rest]) => ['-D', ...rest]),
    // A chain can go once no rule jumps to it, so all are emptied first.
    ...chains.map((chain) => ['-F', chain]),
    ...chains.map((chain) => ['-X', chain]),
    ...policies.map(splitRule),
  ];
}

/** Words of a rule as printed, where a text with spaces stands in quotes. */
function splitRule(line: string): string[] {
  return (line.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? []).map((word) =>
    word.startsWith('"') ? word.slice(1, -1).replaceAll(/\\(.)/g, '$1') : word,
  );
}

export interface TablesChange {
  readonly before: { readonly tables: readonly string[]; readonly chains: readonly string[] };
  readonly now: { readonly tables: readonly string[]; readonly chains: readonly string[] };
}

/**
 * The arguments of the `nft` calls that take away the tables and base chains that iptables made for an engine. A call
 * fails, and should, where somebody else uses a chain by now: chains before tables, and a chain goes only when empty.
 */
export function removalOfNewChains({ before, now }: TablesChange): string[][] {
  return now.chains
    .filter((chain) => !before.chains.includes(chain) && isIptablesTable(chain))
    .map((chain) => ['delete', 'chain', ...chain.split(' ')]);
}

/** The same for tables, once their chains are gone. */
export function removalOfNewTables({ before, now }: TablesChange): string[][] {
  return now.tables
    .filter((table) => !before.tables.includes(table) && isIptablesTable(table))
    .filter((table) => !now.chains.some((chain) => chain.startsWith(`${table} `)))
    .map((table) => ['delete', 'table', ...table.split(' ')]);
}

function isIptablesTable(name: string): boolean {
  return /^ip6? (filter|nat|mangle|raw)\b/.test(name);
}
