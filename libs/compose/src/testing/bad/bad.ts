import type { LoadStackOptions } from '../../index.ts';

/** A file that must be refused, and how. */
export interface Bad {
  readonly name: string;
  /** The line that ends in `# here` is the one that must be named. */
  readonly text: string;
  readonly key: string;
  readonly message: RegExp;
  readonly remedy: RegExp;
  readonly options?: Partial<LoadStackOptions>;
}

/** A file whose one service `web` has these lines besides an image. */
export function web(lines: string, rest = ''): string {
  const body = lines.replaceAll(/^/gm, '    ');
  return `services:\n  web:\n    image: nginx\n${body}\n${rest}`;
}
