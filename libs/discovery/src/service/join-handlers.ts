import { WriteSet } from '@berth/changes';
import { checkHello } from '@berth/contracts';
import type {
  JoinRequest,
  JoinResponse,
  JoinServiceImplementation,
  Node,
  RejoinRequest,
  RejoinResponse,
} from '@berth/contracts/registry';
import type { CallerContext, Clock, Logger, Rng, Store } from '@berth/kernel';
import { BerthError, isBerthError, newId } from '@berth/kernel';
import { joiningNode } from '../domain/nodes.ts';
import { firstManagers, isTokenValid, nodeKeys, nodes, registryOwner, tokens } from '../domain/records.ts';
import { writeNode } from '../domain/writes.ts';
import type { CertificateIssuer } from './certificate-issuer.ts';
import type { CertificateTools } from './ports.ts';
import type { Registry } from './registry.ts';

/** Races that a Join may lose before it gives up. */
const attemptsMax = 5;

export interface JoinHandlersOptions {
  readonly registry: Registry;
  readonly issuer: CertificateIssuer;
  readonly tools: CertificateTools;
  readonly store: Store;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  readonly clusterId: string;
}

/** Serves `berth.registry.v1.JoinService`, on the join port alone. */
export class JoinHandlers implements JoinServiceImplementation<CallerContext> {
  readonly #options: JoinHandlersOptions;

  constructor(options: JoinHandlersOptions) {
    this.#options = options;
  }

  async join(request: JoinRequest, { peer }: CallerContext): Promise<JoinResponse> {
    const { registry, tools, log, clusterId } = this.#options;
    await this.#checkToken(request.tokenSecret, peer);
    checkHello(request.hello, clusterId, { newcomer: true });
    const { node } = request;
    if (!node) throw new BerthError('InvalidArgument', 'the request describes no node', { reason: 'BAD_NODE' });
    const publicKeySha256 = await tools.csrKeySha256(request.csr);
    const nodeId = await this.#nodeIdOf(publicKeySha256);
    const signed = await this.#admit(nodeId, node, publicKeySha256, request.csr);
    await registry.feed.waitFor(undefined);
    log.info({ nodeId, hostname: node.hostname, peer }, 'node joined');
    return { nodeId, clusterId, ...signed, members: registry.view.serviceList() };
  }

  async rejoin(request: RejoinRequest, { peer }: CallerContext): Promise<RejoinResponse> {
    const { registry, tools, store, issuer, log, clusterId } = this.#options;
    const { nodeId, csr } = request;
    await this.#checkToken(request.tokenSecret, peer);
    checkHello(request.hello, clusterId);
    const { entry } = await store.get(nodes.key(nodeId));
    const record = entry && nodes.decode(entry);
    if (!entry || !record?.node) {
      throw new BerthError('PermissionDenied', 'this cluster knows no such node: it can only join anew', {
        reason: 'NODE_UNKNOWN',
      });
    }
    if (record.removed) throw removedNode();
    if ((await tools.csrKeySha256(csr)) !== record.publicKeySha256) {
      throw new BerthError('PermissionDenied', 'a node rejoins by the key it joined with', { reason: 'FOREIGN_KEY' });
    }
    const unchanged = new WriteSet(registryOwner).compare({
      kind: 'unchanged',
      key: entry.key,
      modRevision: entry.modRevision,
    });
    const signed = await issuer.issue(csr, { role: 'node', id: nodeId }, [record.node.address], unchanged);
    await registry.feed.waitFor(undefined);
    log.info({ nodeId, hostname: record.node.hostname, peer }, 'node rejoined');
    return { ...signed, members: registry.view.serviceList() };
  }

  async #checkToken(secret: string, peer: string): Promise<void> {
    const { tools, store, clock, log } = this.#options;
    // From the store itself: a token that was just replaced must not pass for another moment.
    const { entry } = await store.get(tokens.key(tools.hashTokenSecret(secret)));
    const record = entry && tokens.decode(entry);
    if (record && isTokenValid(record, clock.wall()) && tools.tokenSecretMatches(secret, record.secretSha256)) return;
    log.warn({ peer }, 'join refused: the token is not valid');
    throw new BerthError(
      'PermissionDenied',
      'the join token is not valid (any more): take a new one from `berth cluster token`',
      { reason: 'BAD_TOKEN' },
    );
  }

  /** The id that this key was given, or a new one, bound to the key before anything else happens. */
  async #nodeIdOf(publicKeySha256: string): Promise<string> {
    const { store, rng } = this.#options;
    const key = nodeKeys.key(publicKeySha256);
    const known = await store.get(key);
    if (known.entry) return nodeKeys.decode(known.entry).nodeId;
    const nodeId = newId(rng);
    const claim = new WriteSet(registryOwner).create(nodeKeys, { publicKeySha256, nodeId });
    if ((await store.txn(claim.group())).committed) return nodeId;
    const other = await store.get(key);
    if (!other.entry) throw new BerthError('Conflict', 'the key is being joined by another call', { reason: 'RACE' });
    return nodeKeys.decode(other.entry).nodeId;
  }

  /** Signs, and writes the node and its certificate together: a node is listed once it can speak. */
  async #admit(nodeId: string, description: Node, publicKeySha256: string, csr: Uint8Array) {
    const { store, clock, issuer } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const { entry } = await store.get(nodes.key(nodeId));
      const before = entry && { value: nodes.decode(entry), modRevision: entry.modRevision };
      if (before?.value.removed) {
        throw removedNode();
      }
      const first = before ? (before.value.node?.manager ?? false) : await this.#noManagerYet();
      const record = joiningNode({ nodeId, description, publicKeySha256, first, nowMs: clock.wall() });
      const writes = writeNode(new WriteSet(registryOwner), record, before);
      // Of two that are both the first, one loses this claim, decides again, and is no manager.
      if (record.node?.manager && !before) writes.create(firstManagers, { publicKeySha256, nodeId });
      try {
        return await issuer.issue(csr, { role: 'node', id: nodeId }, [description.address], writes);
      } catch (error) {
        if (!isBerthError(error, 'Conflict') || attempt >= attemptsMax) throw error;
      }
    }
  }

  async #noManagerYet(): Promise<boolean> {
    const { store } = this.#options;
    // Clusters made before the claim existed have a manager without one.
    const { entries } = await store.list(nodes.prefix);
    return !entries.some((entry) => nodes.decode(entry).node?.manager);
  }
}

function removedNode(): BerthError {
  return new BerthError(
    'PermissionDenied',
    'this host was removed from the cluster and still has its old key: empty the state folder of its agent (default ' +
      '/var/lib/berth), then join again',
    { reason: 'NODE_LEFT' },
  );
}
