import type { Report } from '../problem.ts';
import { describeTemplateError } from '../text/dotenv.ts';
import type { Lookup } from '../text/interpolate.ts';
import { interpolate } from '../text/interpolate.ts';
import type { SourceText } from './source-text.ts';
import type { Entry, Node, ScalarNode } from './tree.ts';
import { childPath } from './tree.ts';

/** Maps whose keys are the user's own words, so that an `x-` key is no extension. */
const freeMaps =
  /(^|\.)(environment|labels|sysctls|driver_opts|extra_hosts)$|^(services|networks|volumes)$|^services.+\.(networks|depends_on)$/;

/** Fills in the variables of every text value; extensions (`x-` keys) are left alone, as nothing reads them. */
export function interpolateTree<T extends Node>(
  node: T,
  source: SourceText,
  lookup: Lookup,
  report: Report,
  path?: string,
): T;
export function interpolateTree(
  node: Node,
  source: SourceText,
  lookup: Lookup,
  report: Report,
  path: string = '',
): Node {
  switch (node.kind) {
    case 'null':
      return node;
    case 'scalar':
      return interpolateScalar(node, source, lookup, report, path);
    case 'list': {
      const items = node.items.map((item, index) => interpolateTree(item, source, lookup, report, `${path}[${index}]`));
      return { ...node, items };
    }
    case 'map': {
      const entries = new Map<string, Entry>();
      for (const [key, entry] of node.entries) {
        const value =
          key.startsWith('x-') && !freeMaps.test(path)
            ? entry.value
            : interpolateTree(entry.value, source, lookup, report, childPath(path, key));
        entries.set(key, { ...entry, value });
      }
      return { ...node, entries };
    }
  }
}

function interpolateScalar(
  node: ScalarNode,
  source: SourceText,
  lookup: Lookup,
  report: Report,
  path: string,
): ScalarNode {
  if (typeof node.value !== 'string' || !node.value.includes('$')) return node;
  const { text, errors } = interpolate(node.value, lookup, { loneDollar: 'error' });
  for (const error of errors) {
    const { message, remedy } = describeTemplateError(error, 'write $$');
    report.fail(source.find(node.range, error.reference), path, message, remedy);
  }
  return { ...node, value: text, text, incomplete: errors.length > 0 };
}
