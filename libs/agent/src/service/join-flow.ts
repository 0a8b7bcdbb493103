import type { JoinRequest, JoinResponse } from '@berth/contracts/registry';
import type { Clock, Logger, Rng } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import { asBuffer } from '../domain/bytes.ts';
import type { PhaseBoard } from './phase.ts';
import { RetryPause } from './retry.ts';
import type { NodeState, StateFiles } from './state-files.ts';

/** A user waits for it: `cluster init` ends when this host has joined. */
const retryMsMax = 500;

/** What joining needs of certificates and of the wire; implemented by the app. */
export interface JoinPort {
  /** A CSR by the node's own key, which is kept over tries: the same key again gets the same node id. */
  csr(): Promise<Uint8Array>;
  /** Dials the join port, pinning the CA digest of the token, and joins. */
  join(token: string, request: Omit<JoinRequest, 'tokenSecret'>): Promise<JoinResponse>;
  /** Keeps the node's certificate. */
  save(certificate: { readonly cert: string; readonly ca: string }): Promise<void>;
}

/** What its operator must mend: a damaged or ended token, a description that no registry takes. */
const finalCodes = ['InvalidArgument', 'PermissionDenied'] as const;

export interface JoinFlowOptions {
  readonly port: JoinPort;
  readonly files: StateFiles;
  readonly board: PhaseBoard;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  /** It never was a node, and has nothing to keep running: what only its operator can mend is thrown, not tried again. */
  readonly newcomer: boolean;
}

/** Joins, however long it takes: a control plane may still be starting. Resolves with the node this host has become. The
 *  token is asked for anew at each try: an operator may have brought another one. */
export async function joinCluster(
  options: JoinFlowOptions,
  token: () => Promise<string>,
  request: () => Promise<Omit<JoinRequest, 'tokenSecret' | 'csr'>>,
  signal: AbortSignal,
): Promise<{ readonly node: NodeState; readonly response: JoinResponse } | undefined> {
  const { port, files, board, clock, rng, log } = options;
  const retry = new RetryPause({ clock, rng, maxMs: retryMsMax });
  const csr = asBuffer(await port.csr());
  while (!signal.aborted) {
    try {
      const asked = await request();
      const response = await port.join(await token(), { ...asked, csr });
      await port.save({ cert: response.certificatePem, ca: response.caPem });
      const node: NodeState = {
        clusterId: response.clusterId,
        nodeId: response.nodeId,
        advertise: asked.node?.address ?? '',
      };
      await files.saveNode(node);
      log.info({ nodeId: node.nodeId, clusterId: node.clusterId }, 'joined');
      return { node, response };
    } catch (error) {
      if (signal.aborted) break;
      if (!isBerthError(error)) throw error;
      if (options.newcomer && finalCodes.some((code) => error.code === code)) throw error;
      board.set('starting', `waiting to join: ${error.message}`);
      if (retry.first) log.info({ error: error.message }, 'could not join yet; trying again');
      await retry.pause(signal);
    }
  }
  return undefined;
}
