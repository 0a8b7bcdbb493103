import { BerthError } from '@berth/kernel';

const labelsPerNodeMax = 64;
const namePattern = /^[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?$/u;
/** Printable ASCII, as placement constraints compare it. */
const valuePattern = /^[\x20-\x7e]{0,253}$/u;

/** Labels as they are after a change. Throws InvalidArgument. */
export function changedLabels(
  before: Readonly<Record<string, string>>,
  change: { readonly set: Readonly<Record<string, string>>; readonly remove: readonly string[] },
): Record<string, string> {
  const both = change.remove.find((name) => Object.hasOwn(change.set, name));
  if (both !== undefined) throw bad(`label ${JSON.stringify(both)} is to be set and removed in one call`);
  const removed = new Set(change.remove);
  const kept = Object.entries(before).filter(([name]) => !removed.has(name));
  return checkedLabels(Object.fromEntries([...kept, ...Object.entries(change.set)]));
}

/** The labels, if a node may carry them. Throws InvalidArgument. */
export function checkedLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(labels);
  for (const [name, value] of entries) {
    if (!namePattern.test(name)) {
      throw bad(
        `label name ${shown(name)} is not usable: 1 to 128 letters, digits, ".", "_", "/" and "-", a letter or digit at both ends`,
      );
    }
    if (!valuePattern.test(value)) {
      throw bad(
        `the value of label ${name} is not usable: at most 253 printable ASCII characters, not ${shown(value)}`,
      );
    }
  }
  if (entries.length > labelsPerNodeMax) throw bad(`a node has at most ${labelsPerNodeMax} labels`);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}

function bad(what: string): BerthError {
  return new BerthError('InvalidArgument', what, { reason: 'BAD_LABEL' });
}
