import { expect, test } from 'vitest';
import { encodeCommand, parseReply } from './redis.ts';

test('a command carries lengths in bytes', () => {
  expect(encodeCommand(['LPUSH', 'messages', 'grüß'])).toBe('*3\r\n$5\r\nLPUSH\r\n$8\r\nmessages\r\n$6\r\ngrüß\r\n');
});

test.each([
  ['+PONG\r\n', 'PONG'],
  [':3\r\n', 3],
  ['$6\r\ngrüß\r\n', 'grüß'],
  ['$-1\r\n', undefined],
  ['*2\r\n$1\r\na\r\n$2\r\nbc\r\n', ['a', 'bc']],
  ['*0\r\n', []],
])('reply %j', (text, reply) => {
  expect(parseReply(Buffer.from(text))).toEqual({ reply, end: Buffer.byteLength(text) });
});

test('a reply that has not wholly arrived is waited for', () => {
  const whole = Buffer.from('*2\r\n$1\r\na\r\n$2\r\nbc\r\n');
  for (let length = 0; length < whole.length; length++) expect(parseReply(whole.subarray(0, length))).toBeUndefined();
});

test('an error of Redis is thrown', () => {
  expect(() => parseReply(Buffer.from('-LOADING wait\r\n'))).toThrow('redis: LOADING wait');
});
