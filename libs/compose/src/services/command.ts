import type { StringList } from '@berth/contracts/workload';
import type { Field } from '../field.ts';
import { shellOperator, splitShellWords } from '../text/shell-words.ts';

/** A command or entrypoint: a list as it is, a text split into words. Absent keeps the image's, empty clears it. */
export function readCommand(field: Field | undefined): StringList | undefined {
  if (field === undefined) return undefined;
  if (field.node.kind === 'list') return { values: field.strings() };
  const words = field.string() === undefined ? undefined : field.parsed(splitShellWords);
  if (words === undefined) return undefined;
  const operator = shellOperator(words);
  if (operator !== undefined) {
    field.warn(`no shell reads this command, so "${operator}" is passed to the program; use ["sh", "-c", "…"]`);
  }
  return { values: words };
}
