import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LogFrames, logLineBytesMax } from './log-frames.ts';

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function frame(stream: number, text: string): Uint8Array {
  const body = encode(text);
  const bytes = new Uint8Array(8 + body.length);
  bytes[0] = stream;
  new DataView(bytes.buffer).setUint32(4, body.length);
  bytes.set(body, 8);
  return bytes;
}

const stamp = '2026-11-23T14:00:00.123456789Z';

test('lines come out whole, however the stream is cut', () => {
  const line = fc.record({ stream: fc.constantFrom(1, 2), text: fc.string().map((s) => s.replaceAll('\n', '')) });
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), (lines, sizes) => {
      const whole = Buffer.concat(lines.map(({ stream, text }) => frame(stream, `${stamp} ${text}\n`)));
      const frames = new LogFrames();
      const found = [];
      for (let at = 0, i = 0; at < whole.length; i += 1) {
        const size = sizes[i % sizes.length]!;
        found.push(...frames.push(whole.subarray(at, at + size)));
        at += size;
      }
      found.push(...frames.end());
      expect(found.map(({ stderr, line: bytes }) => ({ stream: stderr ? 2 : 1, text: decode(bytes) }))).toEqual(lines);
      expect(found.every(({ atMs }) => atMs === Date.parse('2026-11-23T14:00:00.123Z'))).toBe(true);
    }),
  );
});

test('a line that the engine cut is one line; a very long one comes in parts; an open one ends with the stream', () => {
  const frames = new LogFrames();
  expect(frames.push(frame(1, `${stamp} half `))).toEqual([]);
  expect(frames.push(frame(2, `${stamp} other\n`)).map((l) => decode(l.line))).toEqual(['other']);
  expect(frames.push(frame(1, `${stamp} whole\n`)).map((l) => decode(l.line))).toEqual(['half whole']);
  const part = frames.push(frame(1, `${stamp} ${'x'.repeat(logLineBytesMax)}`));
  expect(part.map((l) => l.line.length)).toEqual([logLineBytesMax]);
  frames.push(frame(1, `${stamp} tail`));
  expect(frames.end().map((l) => decode(l.line))).toEqual(['tail']);
});
