import { BerthError } from '@berth/kernel';
import type { Hello } from './gen/workload.ts';
import { protocolVersion } from './rpc.ts';

/** The first word on a long-lived stream. */
export function helloOf(clusterId: string, softwareVersion: string): Hello {
  return { protocolVersion, clusterId, softwareVersion };
}

/**
 * Refuses a sender that speaks neither this protocol version nor the one before it, or that belongs to another cluster.
 * `newcomer` lets a sender without a cluster pass: one that is about to join. Throws FailedPrecondition with reason
 * PROTOCOL_VERSION or WRONG_CLUSTER.
 */
export function checkHello(
  hello: Hello | undefined,
  clusterId: string,
  options: { readonly newcomer?: boolean } = {},
): void {
  const version = hello?.protocolVersion ?? 0;
  // The newer side adapts: a sender of the next version speaks this one when it hears it.
  if (version < Math.max(1, protocolVersion - 1) || version > protocolVersion + 1) {
    throw new BerthError(
      'FailedPrecondition',
      `protocol version ${version} and this service's ${protocolVersion} do not work together: upgrade the older side first`,
      { reason: 'PROTOCOL_VERSION', details: { version: String(version), supported: String(protocolVersion) } },
    );
  }
  const cluster = hello?.clusterId ?? '';
  if (cluster !== clusterId && !(options.newcomer && cluster === '')) {
    throw new BerthError('FailedPrecondition', `the caller belongs to another cluster (${cluster || 'none'})`, {
      reason: 'WRONG_CLUSTER',
      details: { cluster: clusterId },
    });
  }
}
