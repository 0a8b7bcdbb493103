import { parseShortPort } from './services/ports.ts';
import type { Entry, ListNode, MapNode, Node } from './yaml/tree.ts';
import { textNode } from './yaml/tree.ts';

/** How a place of the file takes a later file's value. */
export type Rule =
  /** The later value replaces the earlier. */
  | { readonly kind: 'replace' }
  /** Lists are one after the other; an item with the key of an earlier one replaces it; one without a key is added. */
  | {
      readonly kind: 'list';
      readonly key: (item: Node) => string | undefined;
      /** Gives the map spelling the shape of a list. */
      readonly fromMap?: (map: MapNode) => ListNode;
    }
  /** Both forms are read as a map; its entries are merged. */
  | { readonly kind: 'map'; readonly fromList: (list: ListNode) => MapNode | undefined };

const replace: Rule = { kind: 'replace' };
const pairs: Rule = { kind: 'map', fromList: pairsToMap };
const uniqueTexts: Rule = { kind: 'list', key: scalarText };

/** Rules by path below the top; `*` is any key. Other maps merge, other lists are appended. */
const rules: Readonly<Record<string, Rule>> = {
  'services.*.cap_add': uniqueTexts,
  'services.*.cap_drop': uniqueTexts,
  'services.*.command': replace,
  'services.*.depends_on': { kind: 'map', fromList: namesToMap('service_started') },
  'services.*.deploy.labels': pairs,
  'services.*.deploy.placement.constraints': uniqueTexts,
  'services.*.entrypoint': replace,
  'services.*.env_file': { kind: 'list', key: (item) => scalarText(field(item, 'path') ?? item) },
  'services.*.environment': pairs,
  'services.*.expose': uniqueTexts,
  'services.*.extra_hosts': { kind: 'list', key: scalarText, fromMap: hostsToList },
  'services.*.healthcheck.test': replace,
  'services.*.labels': pairs,
  'services.*.networks': { kind: 'map', fromList: namesToMap(undefined) },
  'services.*.networks.*.aliases': uniqueTexts,
  'services.*.ports': { kind: 'list', key: portKey },
  'services.*.profiles': uniqueTexts,
  'services.*.sysctls': pairs,
  'services.*.tmpfs': { kind: 'list', key: (item) => scalarText(item)?.split(':')[0] },
  'services.*.volumes': { kind: 'list', key: volumeKey },
  'networks.*.driver_opts': pairs,
  'volumes.*.driver_opts': pairs,
  'volumes.*.labels': pairs,
};

/** The rule of a path; undefined where maps merge, lists are appended and single values replace. */
export function ruleOf(path: readonly string[]): Rule | undefined {
  const pattern = path.map((key, index) => (index === 1 || (index === 3 && path[2] === 'networks') ? '*' : key));
  return rules[pattern.join('.')];
}

/** `- KEY=value` items as a map; undefined when an item is no text, which its reader will say. */
function pairsToMap(list: ListNode): MapNode | undefined {
  const entries = new Map<string, Entry>();
  for (const item of list.items) {
    const text = scalarText(item);
    if (text === undefined) return undefined;
    const split = text.indexOf('=');
    const key = split < 0 ? text : text.slice(0, split);
    if (key === '') return undefined;
    const value: Node = split < 0 ? { kind: 'null', at: item.at } : textNode(text.slice(split + 1), item);
    entries.set(key, { keyAt: item.at, value });
  }
  return { kind: 'map', at: list.at, entries };
}

function hostsToList(map: MapNode): ListNode {
  const items = [...map.entries].flatMap(([name, { value }]) =>
    (value.kind === 'list' ? value.items : [value]).map((item) =>
      item.kind === 'scalar' ? textNode(`${name}=${item.text}`, item) : item,
    ),
  );
  return { kind: 'list', at: map.at, items };
}

function namesToMap(condition: string | undefined): (list: ListNode) => MapNode | undefined {
  return (list) => {
    const entries = new Map<string, Entry>();
    for (const item of list.items) {
      const name = scalarText(item);
      if (name === undefined) return undefined;
      const value: Node =
        condition === undefined
          ? { kind: 'null', at: item.at }
          : {
              kind: 'map',
              at: item.at,
              entries: new Map([['condition', { keyAt: item.at, value: textNode(condition, item) }]]),
            };
      entries.set(name, { keyAt: item.at, value });
    }
    return { kind: 'map', at: list.at, entries };
  };
}

/** Compose's key of a port: host address, published and container port, protocol. */
function portKey(item: Node): string | undefined {
  const text = scalarText(item);
  if (text !== undefined) {
    const port = parseShortPort(text);
    if (!port.ok) return undefined;
    const { hostIp, published, target, protocol } = port.value;
    const publishedText = published === undefined ? '' : rangeText(published);
    return [hostIp, publishedText, rangeText(target), protocol].join('|');
  }
  const target = scalarText(field(item, 'target'));
  if (target === undefined) return undefined;
  const published = scalarText(field(item, 'published')) ?? '';
  return [
    scalarText(field(item, 'host_ip')) ?? '',
    published === '0' ? '' : published,
    target,
    scalarText(field(item, 'protocol')) ?? 'tcp',
  ].join('|');
}

function rangeText({ first, last }: { readonly first: number; readonly last: number }): string {
  return first === last ? String(first) : `${first}-${last}`;
}

/** Compose's key of a volume: its target. */
function volumeKey(item: Node): string | undefined {
  const text = scalarText(item);
  if (text === undefined) return scalarText(field(item, 'target'));
  const parts = text.split(':');
  return (parts.length === 1 ? parts[0] : parts[1])?.replace(/(.)\/+$/, '$1');
}

function field(node: Node, key: string): Node | undefined {
  return node.kind === 'map' ? node.entries.get(key)?.value : undefined;
}

function scalarText(node: Node | undefined): string | undefined {
  return node?.kind === 'scalar' ? node.text : undefined;
}
