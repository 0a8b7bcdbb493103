import { eventSubjects } from '@berth/changes';
import type { MethodWithOptions } from '@berth/contracts';
import { accessRuleOf } from '@berth/contracts';
import { allServices } from '@berth/contracts/services';
import type { Identity } from '@berth/kernel';
import { admits } from '@berth/kernel';
import { copyRoute, eventOwners, logOf, natsUserOf, streamOf } from '@berth/workload';

/** Who knocks: an identity with the cluster's certificate for it, or somebody without one. */
export interface Caller {
  /** Of its credentials, and for show. */
  readonly name: string;
  /** Undefined: no certificate, or one of another CA. */
  readonly identity: Identity | undefined;
  /** NATS has a user for it: services of the control plane, nodes of the member list, issued people. */
  readonly knownToNats: boolean;
}

/** Any generated service: its methods with their options. */
export interface AnyService {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, MethodWithOptions & { readonly name: string }>>;
}

/** Every service of the protos. */
export const services: readonly AnyService[] = allServices;

export interface Rpc {
  readonly service: string;
  readonly method: string;
  /** Who may; empty: nobody, for there is no rule. */
  readonly allow: readonly string[];
}

export const pathOf = ({ service, method }: Rpc): string => `/${service}/${method}`;

export function rpcsOf(all: readonly AnyService[]): Rpc[] {
  return all.flatMap(({ fullName, methods }) =>
    Object.values(methods).map((method) => ({
      service: fullName,
      method: method.name,
      allow: accessRuleOf(method)?.allow ?? [],
    })),
  );
}

/** RPCs that everybody forgot to make a rule for: none may exist. */
export function withoutRule(all: readonly AnyService[]): string[] {
  return rpcsOf(all)
    .filter(({ allow }) => allow.length === 0)
    .map(pathOf);
}

/** What must come of a call at a port with mTLS. */
export function expectedCall({ allow }: Pick<Rpc, 'allow'>, { identity }: Caller): 'refused' | 'denied' | 'admitted' {
  if (identity === undefined) return 'refused';
  return admits(allow, identity) ? 'admitted' : 'denied';
}

export interface SubjectCell {
  readonly verb: 'publish' | 'subscribe';
  readonly subject: string;
}

/** Subjects that no rule speaks of, and calls of JetStream that nobody may make. */
const foreign = [
  'something.else',
  '>',
  'berth.>',
  '$SYS.REQ.SERVER.PING',
  '$JS.API.>',
  `${copyRoute.api}.>`,
  `${copyRoute.deliver}.>`,
];
const destructive = ['PURGE', 'DELETE', 'SNAPSHOT', 'RESTORE'];

/** Every subject that a rule of these identities speaks of, made whole, and those that none does. */
export function subjectCells(callers: readonly Caller[]): SubjectCell[] {
  const users = callers.flatMap(({ identity }) => (identity ? (natsUserOf(identity) ?? []) : []));
  const owned = eventOwners.flatMap(({ owner }) => {
    const { changes, head, beacon } = eventSubjects(owner);
    return [changes('access.test'), head('access.test'), beacon];
  });
  const calls = eventOwners.flatMap(({ owner }) =>
    [logOf(owner), streamOf(owner)].flatMap((stream) => destructive.map((call) => `$JS.API.STREAM.${call}.${stream}`)),
  );
  const publish = [...users.flatMap((user) => user.publish), ...owned, ...calls, ...foreign].map(whole);
  const subscribe = [...users.flatMap((user) => user.subscribe), ...owned, ...foreign].flatMap((subject) => [
    subject,
    whole(subject),
  ]);
  return [
    ...[...new Set(publish)].map((subject) => ({ verb: 'publish' as const, subject })),
    ...[...new Set(subscribe)].map((subject) => ({ verb: 'subscribe' as const, subject })),
  ];
}

/** What must come of it. */
export function expectedSubject({ verb, subject }: SubjectCell, caller: Caller): 'refused' | 'violation' | 'taken' {
  const user = caller.identity && natsUserOf(caller.identity);
  if (user === undefined || !caller.knownToNats) return 'refused';
  return user[verb].some((pattern) => covers(pattern, subject)) ? 'taken' : 'violation';
}

/** A subject that a pattern covers and that nobody listens to. */
function whole(pattern: string): string {
  return pattern
    .split('.')
    .map((token) => (token === '*' ? 'access-test' : token === '>' ? 'access.test' : token))
    .join('.');
}

/** Is all that `subject` stands for (it may hold wildcards itself) within `pattern`? */
export function covers(pattern: string, subject: string): boolean {
  const [wanted, given] = [pattern.split('.'), subject.split('.')];
  for (const [i, token] of wanted.entries()) {
    if (token === '>') return given.length > i;
    const there = given[i];
    if (there === undefined || there === '>') return false;
    if (token !== '*' && token !== there) return false;
  }
  return wanted.length === given.length;
}
