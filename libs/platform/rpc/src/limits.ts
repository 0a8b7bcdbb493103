/** Limits of every server and client, each with its unit in its name. */
export const rpcLimits = {
  /** Deadline of a unary call that names none. */
  unaryTimeoutMs: 10_000,
  /** One round over all addresses of a target: TCP, TLS and HTTP/2 settings. */
  connectTimeoutMs: 5_000,
  /** The next address is tried too when the one before has not answered by then. */
  connectStaggerMs: 300,
  /** A ping goes out after this much silence, from both sides, also without calls. */
  keepaliveTimeMs: 1_000,
  /** A ping not answered by then ends the connection: a silent peer is noticed within 2.5 s. */
  keepaliveTimeoutMs: 1_500,
  /** First pause before a retry; doubles, with full jitter. */
  retryBaseMs: 100,
  retryMaxMs: 2_000,
  retryAttemptsMax: 10,
  /** Largest message in either direction. */
  messageBytesMax: 16 * 1024 * 1024,
  /** Largest message on the join port, where nobody is known: a CSR, a token and what a host says of itself. */
  joinMessageBytesMax: 64 * 1024,
  /** Text of an error on the wire; longer ones are cut. */
  errorMessageBytesMax: 2_048,
  /** Reason and details of an error on the wire; larger details are left out. */
  errorDetailsBytesMax: 4_096,
  /** Calls at a time on one connection. */
  streamsPerConnectionMax: 4_096,
  /** The same on the join port. */
  joinStreamsPerConnectionMax: 16,
  /** A client closes a connection without calls after this time. */
  idleTimeoutMs: 300_000,
  /** After its calls were cut, a server that stops waits no longer than this for its connections to close. */
  cutTimeoutMs: 1_000,
  /** A call under way of a caller that may no longer speak is ended after this time; new ones are refused at once. */
  refusedGraceMs: 500,
  /** Callers' certificates whose keys are remembered. */
  callerKeysMax: 4_096,
  /** How often certificate files are looked at for a change. */
  tlsPollMs: 5_000,
} as const;

/** grpc-js options that both sides share. */
export const channelOptions = {
  'grpc.keepalive_time_ms': rpcLimits.keepaliveTimeMs,
  'grpc.keepalive_timeout_ms': rpcLimits.keepaliveTimeoutMs,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.max_receive_message_length': rpcLimits.messageBytesMax,
  'grpc.max_send_message_length': rpcLimits.messageBytesMax,
} as const;

// biome-ignore lint/suspicious/noConfusingVoidType: what nice-grpc's middlewares return: a message, or nothing for a stream.
export type Answer<Response> = Response | void;
