import { encodeToken } from '@berth/kernel';

/** The NATS subjects of one owner. A scope's tokens (`network.<id>`) are tokens of the subject, so that wildcards work. */
export function eventSubjects(owner: string) {
  const of = (kind: string, scope: string): string =>
    `berth.${owner}.${kind}.${scope.split('.').map(encodeToken).join('.')}`;
  return {
    /** Changes of a scope; recorded in the owner's log. */
    changes: (scope: string): string => of('changes', scope),
    /** The newest revision of a scope, repeated for a while after each change. */
    head: (scope: string): string => of('head', scope),
    /** A sign of life each second. */
    beacon: `berth.${owner}.beacon`,
    /** All that the owner's log records. */
    logged: `berth.${owner}.changes.>`,
  } as const;
}
