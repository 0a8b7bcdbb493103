import type { Change, Node } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { Identity } from '@berth/kernel';
import { BerthError, formatIdentity } from '@berth/kernel';

/** The registry's nodes and revocations as somebody mirrors them: a `RemoteMirror`, or the registry's own feed. */
export interface AdmissionSource {
  /** As of the last step; kept while the registry is away. */
  readonly resources: ReadonlyMap<string, Change>;
  /** Undefined before the first step. */
  readonly revision: object | undefined;
  onStep(
    listener: (step: { readonly kind: string; readonly changes?: readonly { readonly key: string }[] }) => void,
  ): () => void;
}

/**
 * Who may still speak, of those that hold a certificate of the cluster: a node that is known by this very key and has not
 * left; a person or program whose name was not revoked; every service. A mirror that has lost the registry goes on by what
 * it last knew. One that has never had it cannot tell, and says Unavailable to all but services: they try again.
 */
export class Admission {
  readonly #source: AdmissionSource;

  constructor(source: AdmissionSource) {
    this.#source = source;
  }

  /** Why a caller with this key (SHA-256 of it, hex) is refused; undefined if it may speak. */
  refusal(caller: Identity, keySha256: string): BerthError | undefined {
    if (caller.role === 'service' || caller.role === 'local-root' || caller.role === 'anyone') return undefined;
    if (this.#source.revision === undefined) {
      return new BerthError('Unavailable', 'who may speak is not known here yet', { reason: 'NOT_SYNCED' });
    }
    if (caller.role === 'node') return refusalOf(this.#node(caller.id), keySha256);
    const identity = formatIdentity(caller);
    if (!this.#source.resources.has(`revocation/${identity}`)) return undefined;
    return new BerthError('PermissionDenied', `${identity} was revoked: its certificates count for nothing`, {
      reason: 'REVOKED',
      details: { identity },
    });
  }

  /** Calls the listener whenever an answer may have changed; the returned function ends it. */
  onChange(listener: () => void): () => void {
    const counts = (key: string): boolean => key.startsWith('node/') || key.startsWith('revocation/');
    return this.#source.onStep((step) => {
      if (step.kind === 'reset' || step.changes?.some(({ key }) => counts(key))) listener();
    });
  }

  #node(id: string): Node | undefined {
    const resource = this.#source.resources.get(`node/${id}`)?.resource;
    return resource?.$case === 'node' ? resource.value : undefined;
  }
}

function refusalOf(node: Node | undefined, keySha256: string): BerthError | undefined {
  if (node === undefined) {
    // It may have joined a moment ago, at a replica that is ahead of this one.
    return new BerthError('Unavailable', 'this node is not known here (yet)', { reason: 'NODE_UNKNOWN' });
  }
  if (node.status === NodeStatus.NODE_STATUS_LEFT) {
    return new BerthError('PermissionDenied', 'this node does not belong to the cluster any more', {
      reason: 'NODE_LEFT',
      details: { nodeId: node.id },
    });
  }
  if (node.publicKeySha256 === keySha256) return undefined;
  return new BerthError('PermissionDenied', 'this node joined with another key', {
    reason: 'FOREIGN_KEY',
    details: { nodeId: node.id },
  });
}
