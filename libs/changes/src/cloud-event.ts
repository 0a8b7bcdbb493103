import type { Revision } from '@berth/kernel';
import { BerthError } from '@berth/kernel';

/** Types of CloudEvents. A new meaning gets a new version. */
export const eventTypes = {
  /** Changes of one scope at one revision. */
  changes: 'berth.changes.v1',
  /** History was lost: the whole of a scope as it stands; drop what you hold of it. */
  reset: 'berth.reset.v1',
} as const;

/** What an event says; changes are protobuf JSON of the owner's `Change`. */
export interface ChangeEvent {
  readonly owner: string;
  readonly epoch: string;
  readonly revision: number;
  /** The scope's revision before this one; 0 if there was none. */
  readonly prev: number;
  readonly scope: string;
  /** 1 to `parts`: a large event comes in parts, in order. */
  readonly part: number;
  readonly parts: number;
  readonly kind: keyof typeof eventTypes;
  /** More resets of the same run follow. */
  readonly more: boolean;
  readonly changes: readonly unknown[];
}

export interface ScopeHead {
  readonly owner: string;
  readonly epoch: string;
  readonly scope: string;
  readonly revision: number;
}

export interface Beacon {
  readonly owner: string;
  readonly epoch: string;
  /** All changes up to this revision have been published. */
  readonly publishedUpTo: number;
}

/** Unique in the cluster: `<epoch>/<owner>/<revision>/<scope>[/reset][/part]`. */
export function messageIdOf(event: Omit<ChangeEvent, 'changes'>): string {
  const id = `${event.epoch}/${event.owner}/${event.revision}/${encodeURIComponent(event.scope)}`;
  return `${id}${event.kind === 'reset' ? '/reset' : ''}${event.parts > 1 ? `/${event.part}` : ''}`;
}

/** A CloudEvent 1.0 in structured JSON. */
export function encodeChangeEvent(event: ChangeEvent): Uint8Array {
  const { epoch, revision, prev, scope, part, parts, more, changes } = event;
  return encode({
    specversion: '1.0',
    id: messageIdOf(event),
    source: `/berth/${event.owner}`,
    type: eventTypes[event.kind],
    subject: scope,
    datacontenttype: 'application/json',
    data: { epoch, revision, prev, scope, part, parts, ...(more ? { more } : {}), changes },
  });
}

/** Throws InvalidArgument with reason BAD_EVENT for what is no event of Berth's. */
export function decodeChangeEvent(bytes: Uint8Array): ChangeEvent {
  const event = decode(bytes);
  const kind = event['type'] === eventTypes.reset ? 'reset' : 'changes';
  if (event['specversion'] !== '1.0' || event['type'] !== eventTypes[kind]) throw bad('specversion or type');
  const data = objectOf(event['data'], 'data');
  const changes = data['changes'];
  if (!Array.isArray(changes)) throw bad('data.changes');
  const read = {
    owner: textOf(event, 'source').replace('/berth/', ''),
    epoch: textOf(data, 'epoch'),
    revision: numberOf(data, 'revision'),
    prev: numberOf(data, 'prev'),
    scope: textOf(data, 'scope'),
    part: numberOf(data, 'part'),
    parts: numberOf(data, 'parts'),
    kind,
    more: data['more'] === true,
    changes,
  } as const;
  if (read.part < 1 || read.part > read.parts) throw bad('data.part');
  return read;
}

export function encodeHead(head: ScopeHead): Uint8Array {
  return encode({ ...head });
}

export function decodeHead(bytes: Uint8Array): ScopeHead {
  const head = decode(bytes);
  return {
    owner: textOf(head, 'owner'),
    epoch: textOf(head, 'epoch'),
    scope: textOf(head, 'scope'),
    revision: numberOf(head, 'revision'),
  };
}

export function encodeBeacon(beacon: Beacon): Uint8Array {
  return encode({ ...beacon });
}

export function decodeBeacon(bytes: Uint8Array): Beacon {
  const beacon = decode(bytes);
  return {
    owner: textOf(beacon, 'owner'),
    epoch: textOf(beacon, 'epoch'),
    publishedUpTo: numberOf(beacon, 'publishedUpTo'),
  };
}

export function revisionOf(event: Pick<ChangeEvent, 'epoch' | 'revision'>): Revision {
  return { epoch: event.epoch, revision: event.revision };
}

type JsonObject = Readonly<Record<string, unknown>>;

function encode(value: JsonObject): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function decode(bytes: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw bad('JSON', cause);
  }
  return objectOf(value, 'the message');
}

function objectOf(value: unknown, name: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(name);
  return value as JsonObject;
}

function textOf(object: JsonObject, name: string): string {
  const value = object[name];
  if (typeof value !== 'string') throw bad(name);
  return value;
}

function numberOf(object: JsonObject, name: string): number {
  const value = object[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw bad(name);
  return value;
}

function bad(what: string, cause?: unknown): BerthError {
  return new BerthError('InvalidArgument', `not an event of Berth's: ${what}`, { reason: 'BAD_EVENT', cause });
}
