import { encodeToken } from './ids.ts';
import type { StoredEntry } from './ports/store.ts';

/** Encodes and decodes one protobuf message: ts-proto's generated object satisfies it. */
export interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(input: Uint8Array): T;
}

/** Keys of one kind, with protobuf values: `<owner>/<kind>/<token>/<token>…`. */
export interface KeyFamily<T> {
  /** `<owner>/<kind>/`. */
  readonly prefix: string;
  /** Key of a value. */
  keyOf(value: T): string;
  /** Key of an id, given as its tokens. */
  key(...tokens: readonly string[]): string;
  owns(key: string): boolean;
  encode(value: T): Uint8Array;
  decode(entry: StoredEntry): T;
  /** Scopes that a change of this value belongs to; their heads are touched in the same txn. */
  scopesOf(value: T): readonly string[];
}

export interface KeyFamilyOptions<T> {
  readonly owner: string;
  readonly kind: string;
  readonly codec: Codec<T>;
  /** Id of a value, as tokens. */
  readonly id: (value: T) => readonly string[];
  /** Scopes; none by default (private records). */
  readonly scopes?: (value: T) => readonly string[];
}

export function keyFamily<T>(options: KeyFamilyOptions<T>): KeyFamily<T> {
  const prefix = `${options.owner}/${options.kind}/`;
  const key = (...tokens: readonly string[]): string => prefix + tokens.map(encodeToken).join('/');
  return {
    prefix,
    key,
    keyOf: (value) => key(...options.id(value)),
    owns: (candidate) => candidate.startsWith(prefix),
    encode: (value) => options.codec.encode(value).finish(),
    decode: (entry) => options.codec.decode(entry.value),
    scopesOf: (value) => options.scopes?.(value) ?? [],
  };
}

/** Key whose last write is a scope's revision: `<owner>/head/<scope>`. */
export function headKey(owner: string, scope: string): string {
  return `${owner}/head/${encodeToken(scope)}`;
}
