import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';

/** Writes at the reader's pace. */
export async function writeAll(stream: Writable, data: Uint8Array): Promise<void> {
  if (!stream.write(data)) await once(stream, 'drain');
}

/** Waits until what was written has been taken, if the reader is slower. */
export async function drained(stream: Writable): Promise<void> {
  if (stream.writableNeedDrain) await once(stream, 'drain');
}

/** Reads in pieces of at most `bytesMax`, at the caller's pace. */
export async function* pieces(stream: Readable, bytesMax: number): AsyncGenerator<Buffer> {
  for await (const chunk of stream) {
    const data = chunk as Buffer;
    for (let at = 0; at < data.length; at += bytesMax) yield data.subarray(at, at + bytesMax);
  }
}
