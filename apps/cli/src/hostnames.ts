import { isBerthError } from '@berth/kernel';
import type { Session } from './session.ts';

/** A node's name for show. */
export type HostnameOf = (nodeId: string) => string;

/** Host names of all nodes; the beginning of its id for a node that nobody can name now. */
export async function hostnames({ control }: Pick<Session, 'control'>, signal?: AbortSignal): Promise<HostnameOf> {
  const names = new Map<string, string>();
  try {
    for (const { id, hostname } of (await control.listNodes({}, signal ? { signal } : {})).nodes)
      names.set(id, hostname);
  } catch (error) {
    if (!isBerthError(error, 'Unavailable')) throw error;
  }
  return (nodeId) => names.get(nodeId) ?? nodeId.slice(0, 8);
}
