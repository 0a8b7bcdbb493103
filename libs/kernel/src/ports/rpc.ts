import type { Identity } from '../identity.ts';

/** What a handler knows of a call beside its request. */
export interface CallerContext {
  /** Verified identity of the caller. */
  readonly caller: Identity;
  /** Address of the caller, for the log. */
  readonly peer: string;
}

/** Options of every client call. */
export interface CallExtra {
  /** Deadline of a unary call. Default 10,000; ignored for streams. */
  readonly timeoutMs?: number;
  /** Ends the call. */
  readonly signal?: AbortSignal;
}

/** Where a client may call: any of the addresses (`host:port`, asked anew at every connect), all serving as one identity. */
export interface RpcTarget {
  readonly identity: Identity;
  addresses(): readonly string[];
}

/** A service type: the generated definition, tied to the generated client and implementation interfaces. */
export interface RpcService<Client, Implementation> {
  /** Full name, e.g. "berth.scheduler.v1.ControlService". */
  readonly name: string;
  /** The generated definition (ts-proto generic definition). */
  readonly definition: unknown;
  /** Types only; never set. */
  readonly types?: { readonly client: Client; readonly implementation: Implementation };
}

/** Makes clients. Connections are shared by target, fail over among addresses, retry UNAVAILABLE of unary calls marked
 *  idempotent with backoff and jitter, and notice a silent peer within 3 s. */
export interface RpcDialer {
  client<Client, Implementation>(service: RpcService<Client, Implementation>, target: RpcTarget): Client;
}
