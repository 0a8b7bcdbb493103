import { WriteSet } from '@berth/changes';
import type {
  CertificateServiceImplementation,
  CreateTokenRequest,
  CreateTokenResponse,
  IssueCertificateRequest,
  IssueCertificateResponse,
  ListCertificatesRequest,
  RenewCertificateRequest,
  RenewCertificateResponse,
  RevokeCertificateRequest,
  RevokeCertificateResponse,
  RotateCaRequest,
  RotateCaResponse,
  RotateTokenRequest,
  RotateTokenResponse,
} from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { CallerContext, Clock, Logger, Store } from '@berth/kernel';
import { BerthError, formatIdentity, parseIdentity } from '@berth/kernel';
import { isTokenValid, registryOwner, revocations, tokens } from '../domain/records.ts';
import type { CaRotation } from './ca-rotation.ts';
import type { CertificateIssuer } from './certificate-issuer.ts';
import type { CertificateTools } from './ports.ts';
import type { Registry } from './registry.ts';

const hourMs = 3_600_000;
/** How long a join token is valid. */
const tokenTtlMs = { default: 24 * hourMs, min: 60_000, max: 30 * 24 * hourMs } as const;
/** Valid join tokens at a time. */
const tokensMax = 100;
const namePattern = /^[a-z0-9][a-z0-9-]{0,31}$/u;

export interface CertificateHandlersOptions {
  readonly registry: Registry;
  readonly issuer: CertificateIssuer;
  readonly rotation: CaRotation;
  readonly tools: CertificateTools;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Call extends CallerContext {
  readonly signal: AbortSignal;
}

/** Serves `berth.registry.v1.CertificateService`. */
export class CertificateHandlers implements CertificateServiceImplementation<CallerContext> {
  readonly #options: CertificateHandlersOptions;

  constructor(options: CertificateHandlersOptions) {
    this.#options = options;
  }

  async renewCertificate(request: RenewCertificateRequest, { caller }: Call): Promise<RenewCertificateResponse> {
    const { registry, issuer, log } = this.#options;
    const addresses: string[] = [];
    if (caller.role === 'node') {
      await registry.feed.waitFor(undefined);
      const node = registry.view.node(caller.id);
      if (!node || node.status === NodeStatus.NODE_STATUS_LEFT) {
        throw new BerthError('PermissionDenied', 'this node does not belong to the cluster (any more)', {
          reason: node ? 'NODE_LEFT' : 'NODE_UNKNOWN',
        });
      }
      // With another key it would be shut out by every server: its key is what it joined with.
      if ((await this.#options.tools.csrKeySha256(request.csr)) !== node.publicKeySha256) {
        throw new BerthError('InvalidArgument', 'a node renews its certificate for the key it joined with', {
          reason: 'FOREIGN_KEY',
        });
      }
      addresses.push(node.address);
    }
    const signed = await issuer.issue(request.csr, caller, addresses);
    log.info({ identity: formatIdentity(caller) }, 'certificate renewed');
    return signed;
  }

  async issueCertificate(request: IssueCertificateRequest, { caller }: Call): Promise<IssueCertificateResponse> {
    const { issuer, store, log } = this.#options;
    const { role, name } = request;
    if (role !== 'operator' && role !== 'reader' && role !== 'subscriber') {
      throw new BerthError(
        'InvalidArgument',
        `role must be operator, reader or subscriber, not ${JSON.stringify(role)}`,
        {
          reason: 'BAD_ROLE',
        },
      );
    }
    if (!namePattern.test(name)) {
      throw new BerthError(
        'InvalidArgument',
        `name must be 1 to 32 characters of a-z, 0-9 and "-", not ${JSON.stringify(name)}`,
        { reason: 'BAD_NAME' },
      );
    }
    const identity = `${role}:${name}`;
    const { entry } = await store.get(revocations.key(identity));
    if (entry) throw revokedName(identity);
    const stillGood = new WriteSet(registryOwner).compare({ kind: 'absent', key: revocations.key(identity) });
    const signed = await issuer.issue(request.csr, { role, name }, [], stillGood);
    log.info({ identity, caller: formatIdentity(caller) }, 'certificate issued');
    return signed;
  }

  async revokeCertificate(
    { holder }: RevokeCertificateRequest,
    { caller, signal }: Call,
  ): Promise<RevokeCertificateResponse> {
    const { registry, store, clock, log } = this.#options;
    await registry.feed.waitFor(undefined, signal);
    const identity = holder?.$case === 'serial' ? this.#holderOf(holder.value) : (holder?.value ?? '');
    const { role } = parseIdentity(identity);
    if (role !== 'operator' && role !== 'reader' && role !== 'subscriber') {
      const remedy =
        role === 'node'
          ? 'take the node out of the cluster: `berth node rm`'
          : 'certificates of services end with their CA: `berth cluster rotate-ca`';
      throw new BerthError('InvalidArgument', `${identity} is not revoked this way. Remedy: ${remedy}`, {
        reason: 'NOT_REVOCABLE',
      });
    }
    const revokedBy = formatIdentity(caller);
    if (revokedBy === identity) {
      throw new BerthError(
        'FailedPrecondition',
        'this is the certificate you call with: you would shut yourself out. Remedy: let another operator do it; root on ' +
          'a manager becomes one with `berth cluster operator --operator NAME`',
        { reason: 'OWN_CERTIFICATE' },
      );
    }
    const record = { identity, revokedAtMs: clock.wall(), revokedBy };
    const { committed, revision } = await store.txn(new WriteSet(registryOwner).create(revocations, record).group());
    if (committed) log.warn({ identity, caller: revokedBy }, 'identity revoked');
    await registry.feed.waitFor({ epoch: registry.feed.revision?.epoch ?? '', revision }, signal);
    return { identity };
  }

  /** Whose certificate has this serial number. */
  #holderOf(serial: string): string {
    const record = this.#options.registry.view.certificates.get(serial.toLowerCase());
    if (record) return record.value.identity;
    throw new BerthError('NotFound', `no certificate with serial ${serial} was issued: see \`berth certificate ls\``, {
      reason: 'UNKNOWN_SERIAL',
    });
  }

  async listCertificates(_request: ListCertificatesRequest, { signal }: Call) {
    const { registry, clock } = this.#options;
    await registry.feed.waitFor(undefined, signal);
    const nowMs = clock.wall();
    const valid = [...registry.view.certificates.values()]
      .map(({ value }) => value)
      .filter(({ notAfterMs }) => notAfterMs > nowMs)
      .map((issued) => ({ ...issued, revoked: this.#isRevoked(issued.identity) }))
      .sort((a, b) => (`${a.identity} ${a.serial}` < `${b.identity} ${b.serial}` ? -1 : 1));
    return { certificates: valid };
  }

  rotateCa(request: RotateCaRequest, { caller, signal }: Call): Promise<RotateCaResponse> {
    return this.#options.rotation.rotate(request, formatIdentity(caller), signal);
  }

  #isRevoked(identity: string): boolean {
    const { view } = this.#options.registry;
    if (view.revocations.get(identity)) return true;
    const nodeId = /^node:(.+)$/u.exec(identity)?.[1];
    return nodeId !== undefined && view.node(nodeId)?.status === NodeStatus.NODE_STATUS_LEFT;
  }

  async createToken(request: CreateTokenRequest, { caller }: Call): Promise<CreateTokenResponse> {
    const { tools, store, clock, log } = this.#options;
    const ttlMs = request.ttlMs || tokenTtlMs.default;
    if (!Number.isInteger(ttlMs) || ttlMs < tokenTtlMs.min || ttlMs > tokenTtlMs.max) {
      throw new BerthError('InvalidArgument', 'a join token is valid for at least 1 minute and at most 30 days', {
        reason: 'BAD_TTL',
      });
    }
    const nowMs = clock.wall();
    const writes = new WriteSet(registryOwner);
    const { entries } = await store.list(tokens.prefix);
    const ended = entries.filter((entry) => !isTokenValid(tokens.decode(entry), nowMs));
    if (entries.length - ended.length >= tokensMax) {
      throw new BerthError(
        'Exhausted',
        `there are ${tokensMax} valid join tokens. Remedy: end them all with \`berth cluster token --rotate\``,
        { reason: 'TOO_MANY_TOKENS' },
      );
    }
    for (const entry of ended) writes.delete(tokens, tokens.decode(entry), entry);
    const { token, secret } = tools.newJoinToken();
    const expiresAtMs = nowMs + ttlMs;
    writes.put(tokens, { secretSha256: tools.hashTokenSecret(secret), createdAtMs: nowMs, expiresAtMs });
    const { committed } = await store.txn(writes.group());
    if (!committed) throw new BerthError('Conflict', 'tokens were just changed by another call', { reason: 'RACE' });
    log.info({ caller: formatIdentity(caller), ttlMs }, 'join token made');
    return { token, expiresAtMs };
  }

  async rotateToken(_request: RotateTokenRequest, { caller }: Call): Promise<RotateTokenResponse> {
    const { tools, store, clock, log } = this.#options;
    const { token, secret } = tools.newJoinToken();
    const { entries } = await store.list(tokens.prefix);
    const writes = new WriteSet(registryOwner);
    for (const entry of entries) writes.delete(tokens, tokens.decode(entry), entry);
    writes.put(tokens, { secretSha256: tools.hashTokenSecret(secret), createdAtMs: clock.wall(), expiresAtMs: 0 });
    const { committed } = await store.txn(writes.group());
    if (!committed) throw new BerthError('Conflict', 'the token was just replaced by another call', { reason: 'RACE' });
    log.info({ caller: formatIdentity(caller) }, 'join token replaced');
    return { token };
  }
}

function revokedName(identity: string): BerthError {
  return new BerthError(
    'FailedPrecondition',
    `${identity} was revoked, and its name does not come back: choose another`,
    {
      reason: 'NAME_REVOKED',
    },
  );
}
