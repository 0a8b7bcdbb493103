import { noop } from 'cockatiel';
import { Etcd3 } from 'etcd3';

/** PEM. etcd trusts a CA of its own; the certificate's CN is the etcd user. */
export interface EtcdTls {
  readonly ca: string | Uint8Array;
  readonly cert: string | Uint8Array;
  readonly key: string | Uint8Array;
}

/** A certificate that may be renewed while the process runs: `fileTls` of `@berth/rpc` is one. */
export interface EtcdTlsSource {
  current(): EtcdTls;
  /** Calls the listener after each change; the returned function ends it. */
  onChange(listener: () => void): () => void;
}

export interface EtcdClientOptions {
  /** `https://host:port`; `http://` only in tests. */
  readonly endpoints: readonly string[];
  readonly tls?: EtcdTls | EtcdTlsSource;
  /** DNS name that etcd's certificate must carry, whatever the endpoint's address. Default: the endpoint's host. */
  readonly serverName?: string;
  /** Deadline of every call that is no stream. Default 5,000. */
  readonly callTimeoutMs?: number;
}

export const callTimeoutMsDefault = 5_000;

/** Pages of a read are cut so that one stays below this; a watch message is at most about 3 MiB (etcd's request limit twice). */
const receiveBytesMax = 8 * 2 ** 20;

/**
 * The vendor's client, without its habits: nothing is retried inside (it would execute a write twice), unary calls alone
 * have a deadline (a watch would be cut by it), and a server that falls silent is noticed within 2.5 s.
 */
export function createClient(options: EtcdClientOptions): Etcd3 {
  const { callTimeoutMs = callTimeoutMsDefault } = options;
  const tls = options.tls && 'current' in options.tls ? options.tls.current() : options.tls;
  return new Etcd3({
    hosts: [...options.endpoints],
    faultHandling: { host: () => noop, global: noop },
    defaultCallOptions: (context) => (context.isStream ? {} : { deadline: Date.now() + callTimeoutMs }),
    ...(tls
      ? {
          credentials: {
            rootCertificate: Buffer.from(tls.ca),
            certChain: Buffer.from(tls.cert),
            privateKey: Buffer.from(tls.key),
          },
        }
      : {}),
    grpcOptions: {
      ...(options.serverName === undefined ? {} : { 'grpc.ssl_target_name_override': options.serverName }),
      'grpc.keepalive_time_ms': 1_000,
      'grpc.keepalive_timeout_ms': 1_500,
      // etcd counts pings of a connection without calls as abuse.
      'grpc.keepalive_permit_without_calls': 0,
      'grpc.max_receive_message_length': receiveBytesMax,
      'grpc.max_send_message_length': receiveBytesMax,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      // A new channel must mean a new connection: one that waits for a lost SYN would be shared for up to a minute.
      'grpc.use_local_subchannel_pool': 1,
    },
  });
}
