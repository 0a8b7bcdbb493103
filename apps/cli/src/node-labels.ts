import { CliError, exitCode } from './exit-code.ts';

/** What `node label` is told: `k=v` sets, `k-` removes. */
export function labelChanges(words: readonly string[]): {
  readonly set: Record<string, string>;
  readonly remove: string[];
} {
  const set: Record<string, string> = {};
  const remove: string[] = [];
  for (const word of words) {
    const at = word.indexOf('=');
    const key = at < 0 ? word.replace(/-$/u, '') : word.slice(0, at);
    if (key === '' || /\s/u.test(key) || (at < 0 && !word.endsWith('-'))) {
      throw new CliError(
        exitCode.badInput,
        `${JSON.stringify(word)} is no change of a label`,
        'write k=v, or k- to remove k',
      );
    }
    if (Object.hasOwn(set, key) || remove.includes(key)) {
      throw new CliError(exitCode.badInput, `label ${key} is named twice`);
    }
    if (at < 0) remove.push(key);
    else set[key] = word.slice(at + 1);
  }
  return { set, remove };
}
