import { Access } from '@berth/contracts/workload';
import type { CallerContext } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { CallContext } from 'nice-grpc-common';

/** gRPC's own health protocol, which load balancers and probes of any language speak. */
export interface HealthCheckRequest {
  readonly service: string;
}

export interface HealthCheckResponse {
  /** 1 = serving, 2 = not serving. */
  readonly status: number;
}

const serving = 1;
const notServing = 2;

const requestType = {
  encode: (message: HealthCheckRequest) => new BinaryWriter().tag(1, WireType.LengthDelimited).string(message.service),
  decode: (bytes: Uint8Array): HealthCheckRequest => ({ service: readText(bytes) }),
  fromPartial: (partial: Partial<HealthCheckRequest>): HealthCheckRequest => ({ service: partial.service ?? '' }),
};

const responseType = {
  encode: (message: HealthCheckResponse) => new BinaryWriter().tag(1, WireType.Varint).int32(message.status),
  decode: (bytes: Uint8Array): HealthCheckResponse => ({ status: readNumber(bytes) }),
  fromPartial: (partial: Partial<HealthCheckResponse>): HealthCheckResponse => ({ status: partial.status ?? 0 }),
};

// Its proto is not ours, so its access rule stands here: whoever has a certificate of the cluster may ask.
const rule = Access.encode({
  allow: ['service', 'node', 'operator', 'reader', 'subscriber', 'local-root'],
}).finish();
const options = { _unknownFields: { 400010: [new BinaryWriter().bytes(rule).finish()] } };

export const healthDefinition = {
  name: 'Health',
  fullName: 'grpc.health.v1.Health',
  methods: {
    check: { name: 'Check', requestType, requestStream: false, responseType, responseStream: false, options },
    watch: { name: 'Watch', requestType, requestStream: false, responseType, responseStream: true, options },
  },
} as const;

/** Answers for the server as a whole (`""`) and for each of its services by full name. */
export function healthService(names: readonly string[], ready: () => boolean) {
  const statusOf = (request: HealthCheckRequest): HealthCheckResponse => {
    if (request.service !== '' && !names.includes(request.service)) {
      throw new BerthError('NotFound', `no service ${request.service} here`, { reason: 'UNKNOWN_SERVICE' });
    }
    return { status: ready() ? serving : notServing };
  };
  return {
    check: async (request: HealthCheckRequest): Promise<HealthCheckResponse> => statusOf(request),
    /** Sends the status now and whenever it has changed, seen once a second. */
    async *watch(
      request: HealthCheckRequest,
      context: CallContext & CallerContext,
    ): AsyncIterable<HealthCheckResponse> {
      let last: number | undefined;
      while (!context.signal.aborted) {
        const next = statusOf(request);
        if (next.status !== last) yield next;
        last = next.status;
        await pause(1_000, context.signal);
      }
    },
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}

function readText(bytes: Uint8Array): string {
  const reader = new BinaryReader(bytes);
  let text = '';
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === 1 && type === WireType.LengthDelimited) text = reader.string();
    else reader.skip(type, number);
  }
  return text;
}

function readNumber(bytes: Uint8Array): number {
  const reader = new BinaryReader(bytes);
  let value = 0;
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === 1 && type === WireType.Varint) value = reader.int32();
    else reader.skip(type, number);
  }
  return value;
}
