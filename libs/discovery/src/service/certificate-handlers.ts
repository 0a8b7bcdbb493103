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
  RotateTokenRequest,
  RotateTokenResponse,
} from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { CallerContext, Clock, Logger, Store } from '@berth/kernel';
import { BerthError, formatIdentity } from '@berth/kernel';
import { isTokenValid, registryOwner, tokens } from '../domain/records.ts';
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
      addresses.push(node.address);
    }
    const signed = await issuer.issue(request.csr, caller, addresses);
    log.info({ identity: formatIdentity(caller) }, 'certificate renewed');
    return signed;
  }

  async issueCertificate(request: IssueCertificateRequest, { caller }: Call): Promise<IssueCertificateResponse> {
    const { issuer, log } = this.#options;
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
    const signed = await issuer.issue(request.csr, { role, name }, []);
    log.info({ identity: `${role}:${name}`, caller: formatIdentity(caller) }, 'certificate issued');
    return signed;
  }

  async listCertificates(_request: ListCertificatesRequest, { signal }: Call) {
    const { registry, clock } = this.#options;
    await registry.feed.waitFor(undefined, signal);
    const nowMs = clock.wall();
    const valid = [...registry.view.certificates.values()]
      .map(({ value }) => value)
      .filter(({ notAfterMs }) => notAfterMs > nowMs)
      .sort((a, b) => (`${a.identity} ${a.serial}` < `${b.identity} ${b.serial}` ? -1 : 1));
    return { certificates: valid };
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
