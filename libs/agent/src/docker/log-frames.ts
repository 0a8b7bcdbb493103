import type { LogLine } from '@berth/kernel';

/** A line longer than this is passed on in parts. */
export const logLineBytesMax = 16 * 1024;

const headerBytes = 8;
const newline = 0x0a;
const space = 0x20;
const decoder = new TextDecoder();

interface Partial {
  readonly stamp: string;
  readonly chunks: Uint8Array[];
  bytes: number;
}

/** A piece of one of the streams that the engine sends through one connection. */
export interface Frame {
  /** 1: standard output, 2: standard error. */
  readonly stream: number;
  readonly data: Uint8Array;
}

/** Takes the engine's multiplexed stream apart: an 8-byte header (stream number, 0, 0, 0, length) before each piece. */
export class Frames {
  #rest: Uint8Array = new Uint8Array();

  /** Feed it what comes; it keeps what is unfinished. */
  push(data: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    let buffer = this.#rest.length === 0 ? data : concat([this.#rest, data]);
    while (buffer.length >= headerBytes) {
      const length = new DataView(buffer.buffer, buffer.byteOffset + 4, 4).getUint32(0);
      if (buffer.length < headerBytes + length) break;
      frames.push({ stream: buffer[0] ?? 0, data: buffer.slice(headerBytes, headerBytes + length) });
      buffer = buffer.subarray(headerBytes + length);
    }
    this.#rest = buffer.slice();
    return frames;
  }
}

/** Turns the engine's log stream, whose frames each start with a timestamp, into lines. */
export class LogFrames {
  readonly #frames = new Frames();
  readonly #open = new Map<number, Partial>();

  push(data: Uint8Array): LogLine[] {
    const lines: LogLine[] = [];
    for (const frame of this.#frames.push(data)) this.#frame(frame, lines);
    return lines;
  }

  /** The stream is over: an unfinished line is a line. */
  end(): LogLine[] {
    const lines: LogLine[] = [];
    for (const stream of [...this.#open.keys()]) this.#flush(stream, lines);
    return lines;
  }

  #frame({ stream, data }: Frame, lines: LogLine[]): void {
    const gap = data.indexOf(space);
    const stamp = gap < 0 ? '' : decoder.decode(data.subarray(0, gap));
    let text = data.subarray(gap + 1);
    const ends = text.at(-1) === newline;
    if (ends) text = text.subarray(0, -1);
    // The engine cuts a long line into frames, each with a timestamp; only the last one ends with a newline.
    const open = this.#open.get(stream) ?? { stamp, chunks: [], bytes: 0 };
    open.chunks.push(text);
    open.bytes += text.length;
    this.#open.set(stream, open);
    if (ends || open.bytes >= logLineBytesMax) this.#flush(stream, lines);
  }

  #flush(stream: number, lines: LogLine[]): void {
    const open = this.#open.get(stream);
    if (open === undefined) return;
    this.#open.delete(stream);
    const atMs = Date.parse(open.stamp);
    lines.push({
      stderr: stream === 2,
      line: concat(open.chunks),
      atMs: Number.isNaN(atMs) ? 0 : atMs,
      stamp: open.stamp,
    });
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
