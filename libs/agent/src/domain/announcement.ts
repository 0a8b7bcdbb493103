import type { AnnounceEndpointsRequest, Endpoint } from '@berth/contracts/registry';

export function endpointKey(endpoint: Pick<Endpoint, 'networkId' | 'taskId'>): string {
  return `${endpoint.networkId}/${endpoint.taskId}`;
}

/** An announcement before it is numbered. */
export type Announcement = Omit<AnnounceEndpointsRequest, 'session' | 'sequence'>;

/** What to announce so that `after` stands where `before` stood; undefined if nothing. */
export function announcement(
  before: ReadonlyMap<string, Endpoint> | undefined,
  after: ReadonlyMap<string, Endpoint>,
): Announcement | undefined {
  const endpoints = [...after].filter(([key, value]) => JSON.stringify(before?.get(key)) !== JSON.stringify(value));
  const withdrawn = [...(before ?? [])].filter(([key]) => !after.has(key));
  if (endpoints.length === 0 && withdrawn.length === 0) return undefined;
  return {
    full: false,
    endpoints: endpoints.map(([, value]) => value),
    withdrawn: withdrawn.map(([, { taskId, networkId }]) => ({ taskId, networkId })),
  };
}
