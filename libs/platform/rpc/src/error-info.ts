import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** `google.rpc.ErrorInfo`: what a program reads of an error. */
export interface ErrorInfo {
  readonly reason: string;
  readonly details: Readonly<Record<string, string>>;
}

/** Trailing metadata in which gRPC carries `google.rpc.Status`; other languages' libraries know it too. */
export const statusDetailsKey = 'grpc-status-details-bin';

const typeUrl = 'type.googleapis.com/google.rpc.ErrorInfo';
const domain = 'berth';

/** Encodes a `google.rpc.Status` with one ErrorInfo. */
export function encodeStatus(code: number, message: string, info: ErrorInfo): Uint8Array {
  const details = new BinaryWriter();
  details.tag(1, WireType.LengthDelimited).string(info.reason);
  details.tag(2, WireType.LengthDelimited).string(domain);
  for (const [key, value] of Object.entries(info.details)) {
    details.tag(3, WireType.LengthDelimited).fork();
    details.tag(1, WireType.LengthDelimited).string(key).tag(2, WireType.LengthDelimited).string(value);
    details.join();
  }
  const status = new BinaryWriter();
  status.tag(1, WireType.Varint).int32(code).tag(2, WireType.LengthDelimited).string(message);
  status.tag(3, WireType.LengthDelimited).fork();
  status.tag(1, WireType.LengthDelimited).string(typeUrl).tag(2, WireType.LengthDelimited).bytes(details.finish());
  status.join();
  return status.finish();
}

/** The first ErrorInfo in an encoded `google.rpc.Status`; undefined when there is none or the bytes are damaged. */
export function decodeStatus(bytes: Uint8Array): ErrorInfo | undefined {
  try {
    for (const any of fields(bytes).filter((field) => field.number === 3)) {
      const parts = fields(any.bytes);
      if (text(parts, 1) !== typeUrl) continue;
      const info = fields(parts.find((part) => part.number === 2)?.bytes ?? new Uint8Array());
      const entries = info.filter((field) => field.number === 3).map((field) => fields(field.bytes));
      return {
        reason: text(info, 1),
        details: Object.fromEntries(entries.map((entry) => [text(entry, 1), text(entry, 2)])),
      };
    }
  } catch {
    // Damaged details say nothing; the status itself still stands.
  }
  return undefined;
}

interface Field {
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** All length-delimited fields of a message, in order. */
function fields(message: Uint8Array): Field[] {
  const reader = new BinaryReader(message);
  const found: Field[] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type === WireType.LengthDelimited) found.push({ number, bytes: reader.bytes() });
    else reader.skip(type, number);
  }
  return found;
}

function text(all: readonly Field[], number: number): string {
  const field = all.find((candidate) => candidate.number === number);
  return field === undefined ? '' : new TextDecoder().decode(field.bytes);
}
