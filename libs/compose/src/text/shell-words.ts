import type { Parsed } from './units.ts';

const blank = /\s+/y;
const joinedLine = /\\\n/y;
const plain = /[^\s'"\\]+/y;
const single = /'([^']*)'/y;
const double = /"((?:[^"\\]|\\[\s\S])*)"/y;
const escaped = /\\([\s\S]?)/y;

/** Splits a command as a POSIX shell would, with quotes and backslashes but without expanding anything. */
export function splitShellWords(text: string): Parsed<string[]> {
  const words: string[] = [];
  let word: string | undefined;
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text) ?? undefined;
    at += match?.[0].length ?? 0;
    return match;
  };
  while (at < text.length) {
    if (take(joinedLine)) continue;
    if (take(blank)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    const part = take(plain)?.[0] ?? take(single)?.[1] ?? unquote(take(double)?.[1]) ?? take(escaped)?.[1];
    if (part === undefined) {
      return {
        ok: false,
        message: `a ${text.charAt(at)} is never closed`,
        remedy: 'close the quote, or write the command as a list: ["program", "argument"]',
      };
    }
    word = (word ?? '') + part;
  }
  if (word !== undefined) words.push(word);
  return { ok: true, value: words };
}

/** Between double quotes a backslash escapes only `"`, `\`, `$`, a backtick and the end of the line. */
function unquote(inner: string | undefined): string | undefined {
  return inner?.replaceAll(/\\(["\\$`\n])/g, (_, char: string) => (char === '\n' ? '' : char));
}

/** The first word that only a shell would understand, such as `&&` or `>`. */
export function shellOperator(words: readonly string[]): string | undefined {
  return words.find((word) => /^(&&|\|\|?|;|&|\d?>>?|<)$/.test(word));
}
