import type { SecureContext } from 'node:tls';
import { createSecureContext } from 'node:tls';
import type { Clock, Logger, RpcTarget } from '@berth/kernel';
import { BerthError, dnsNameOf, formatIdentity } from '@berth/kernel';
import type { StatusObject } from '@grpc/grpc-js';
import { Channel, ChannelCredentials, Client, connectivityState } from '@grpc/grpc-js';
import { channelOptions, rpcLimits } from './limits.ts';
import type { TlsMaterial } from './tls.ts';
import { probeRefusal } from './tls-probe.ts';

export interface ConnectionOptions {
  readonly target: RpcTarget;
  /** Certificates of the caller and the CA to trust; undefined: only Unix sockets can be dialed. */
  readonly tls: () => TlsMaterial | { readonly ca: string } | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Line {
  readonly address: string;
  readonly channel: Channel;
}

/**
 * One connection to a target, over one of its addresses at a time. It passes for a grpc-js channel, so that clients made
 * once go on over another address, or with renewed certificates, without being told.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  #line: Line | undefined;
  #connecting: Promise<void> | undefined;
  /** The address to try first. */
  #preferred: string | undefined;
  #closed = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** Resolves when a call can be sent. One round over all addresses at most: Unavailable if none answers,
   *  Unauthenticated if one does but the two sides do not trust each other. Nothing has been sent then. */
  async ready(): Promise<void> {
    if (this.#closed) throw new BerthError('Cancelled', 'the dialer is closed', { reason: 'DIALER_CLOSED' });
    const line = this.#line;
    if (line !== undefined) {
      if (line.channel.getConnectivityState(false) === connectivityState.READY) return;
      this.retire();
    }
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    await this.#connecting;
  }

  /** A call over this connection said Unavailable: if there is another address, the next call tries that one first. */
  failed(): void {
    const addresses = this.#options.target.addresses();
    const line = this.#line;
    if (line === undefined || addresses.length < 2) return;
    this.#preferred = addresses[(addresses.indexOf(line.address) + 1) % addresses.length];
    this.retire();
  }

  /** New calls use a new connection; those under way go on over the old one until they end. */
  retire(): void {
    this.#line?.channel.close();
    this.#line = undefined;
  }

  /** For good: calls under way go on, new ones fail. */
  close(): void {
    this.#closed = true;
    this.retire();
  }

  /** grpc-js asks for this one for every call. */
  createCall(...call: Parameters<Channel['createCall']>): ReturnType<Channel['createCall']> {
    if (this.#line === undefined) throw new BerthError('Unavailable', 'not connected', { reason: 'CONNECTION_LOST' });
    return this.#line.channel.createCall(...call);
  }

  /** Tries the addresses one after the other, the next as soon as one fails or is slow; the first that is ready wins. */
  async #connect(): Promise<void> {
    const { target, clock, logger } = this.#options;
    const addresses = this.#inOrder(target.addresses());
    if (addresses.length === 0) {
      throw new BerthError('Unavailable', `no address of ${formatIdentity(target.identity)} is known`, {
        reason: 'NO_ADDRESS',
      });
    }
    const over = new AbortController();
    const errors: BerthError[] = [];
    const attempts: Promise<void>[] = [];
    for (const address of addresses) {
      const attempt = this.#try(address, over.signal).then(
        (line) => {
          if (over.signal.aborted) return line.channel.close();
          over.abort();
          this.#line = line;
          this.#preferred = address;
        },
        (error: BerthError) => {
          errors.push(error);
        },
      );
      attempts.push(attempt);
      await Promise.race([attempt, clock.sleep(rpcLimits.connectStaggerMs, over.signal)]);
      if (over.signal.aborted) break;
    }
    await Promise.race([
      Promise.all(attempts),
      new Promise((resolve) => over.signal.addEventListener('abort', resolve)),
    ]);
    if (this.#line !== undefined) {
      if (this.#closed) this.retire();
      logger.debug({ target: formatIdentity(target.identity), address: this.#preferred }, 'connected');
      return;
    }
    throw errors.find((error) => error.code === 'Unauthenticated') ?? errors[0] ?? unreachable(target, addresses, '');
  }

  #inOrder(addresses: readonly string[]): readonly string[] {
    const at = this.#preferred === undefined ? -1 : addresses.indexOf(this.#preferred);
    return at <= 0 ? addresses : [...addresses.slice(at), ...addresses.slice(0, at)];
  }

  async #try(address: string, over: AbortSignal): Promise<Line> {
    const channel = this.#channel(address);
    const deadline = Date.now() + rpcLimits.connectTimeoutMs;
    for (;;) {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) return { address, channel };
      if (state === connectivityState.TRANSIENT_FAILURE || over.aborted || Date.now() >= deadline) {
        const why = state === connectivityState.TRANSIENT_FAILURE ? await lastError(channel) : 'no answer in time';
        channel.close();
        throw unreachable(this.#options.target, [address], (await this.#refusal(address, why)) ?? why);
      }
      await new Promise<void>((resolve) => {
        over.addEventListener('abort', () => resolve(), { once: true });
        channel.watchConnectivityState(state, deadline, () => resolve());
      });
    }
  }

  async #refusal(address: string, why: string): Promise<string | undefined> {
    const tls = this.#options.tls();
    if (!hungUp.test(why) || tls === undefined || !('cert' in tls)) return undefined;
    return probeRefusal(address, dnsNameOf(this.#options.target.identity), tls);
  }

  #channel(address: string): Channel {
    const options = {
      ...channelOptions,
      'grpc.client_idle_timeout_ms': rpcLimits.idleTimeoutMs,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_http_proxy': 0,
    };
    if (address.startsWith('unix:')) return new Channel(address, ChannelCredentials.createInsecure(), options);
    const tls = this.#options.tls();
    if (tls === undefined) {
      throw new BerthError('FailedPrecondition', `no certificate to dial ${address} with`, {
        reason: 'NO_CERTIFICATE',
      });
    }
    const name = dnsNameOf(this.#options.target.identity);
    return new Channel(address, ChannelCredentials.createFromSecureContext(contextOf(tls)), {
      ...options,
      'grpc.ssl_target_name_override': name,
      'grpc.default_authority': name,
    });
  }
}

function contextOf(tls: TlsMaterial | { readonly ca: string }): SecureContext {
  return createSecureContext({ ...tls, minVersion: 'TLSv1.3' });
}

/** Why a channel could not connect: grpc-js says so only to a call, and fails it without sending anything. */
function lastError(channel: Channel): Promise<string> {
  const client = new Client('', ChannelCredentials.createInsecure(), { channelOverride: channel });
  return new Promise((resolve) => {
    const nothing = (): Buffer => Buffer.alloc(0);
    const options = { deadline: Date.now() + 500 };
    client.makeUnaryRequest('/grpc.health.v1.Health/Check', nothing, nothing, {}, options, (status) => {
      resolve((status as StatusObject | null)?.details ?? '');
    });
  });
}

/** What grpc-js says when the other side hangs up before it has said anything. */
const hungUp = /Failed to connect(?!.*(?:ECONNREFUSED|ENOTFOUND|EHOST|ENET|ETIMEDOUT))/u;

/** TLS's own words for "I do not trust you", from either side. */
const distrust =
  /certificate|alert|self.signed|unable to (get|verify)|altname|ERR_TLS|ERR_SSL|EPROTO|CERT_|UNABLE_TO|DEPTH_ZERO/iu;

function unreachable(target: RpcTarget, addresses: readonly string[], why: string): BerthError {
  const who = `${formatIdentity(target.identity)} at ${addresses.join(', ')}`;
  const details = { target: formatIdentity(target.identity), addresses: addresses.join(' ') };
  if (distrust.test(why)) {
    return new BerthError('Unauthenticated', `${who}: the two sides do not trust each other: ${why}`, {
      reason: 'TLS_REFUSED',
      details,
    });
  }
  return new BerthError('Unavailable', `${who} cannot be reached: ${why}`, { reason: 'UNREACHABLE', details });
}
