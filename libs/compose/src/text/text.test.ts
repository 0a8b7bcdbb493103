import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isIpv4, isIpv6 } from './addresses.ts';
import { nearest } from './nearest.ts';
import { splitShellWords } from './shell-words.ts';
import { parseBytes, parseCpus, parseDuration } from './units.ts';

test.each([
  ['0', 0],
  ['10s', 10_000],
  ['1m30s', 90_000],
  ['2.5s', 2500],
  ['500ms', 500],
  ['1h5m', 3_900_000],
  ['1500us', 2],
  ['1d', 86_400_000],
  ['10', undefined],
  ['-1s', undefined],
  ['1s 2s', undefined],
  ['500us', undefined],
  ['9999h', undefined],
  ['', undefined],
])('duration %s', (text, millis) => {
  expect(parseDuration(text)).toMatchObject(millis === undefined ? { ok: false } : { ok: true, value: millis });
});

test.each([
  ['1048576', 1_048_576],
  ['512b', 512],
  ['64k', 65_536],
  ['64KiB', 65_536],
  ['512m', 536_870_912],
  ['512 MB', 536_870_912],
  ['1.5g', 1_610_612_736],
  ['1gb', 1_073_741_824],
  ['-1', undefined],
  ['1x', undefined],
  ['m', undefined],
])('bytes %s', (text, bytes) => {
  expect(parseBytes(text)).toMatchObject(bytes === undefined ? { ok: false } : { ok: true, value: bytes });
});

test.each([
  ['1', 1000],
  ['0.25', 250],
  ['.5', 500],
  ['0', undefined],
  ['-1', undefined],
  ['0.0001', undefined],
  ['1,5', undefined],
])('cpus %s', (text, millis) => {
  expect(parseCpus(text)).toMatchObject(millis === undefined ? { ok: false } : { ok: true, value: millis });
});

test.each([
  ['nginx -g "daemon off;"', ['nginx', '-g', 'daemon off;']],
  [`sh -c 'echo "$HOME"'`, ['sh', '-c', 'echo "$HOME"']],
  ['a\\ b c', ['a b', 'c']],
  ['""', ['']],
  [`a""b'c'`, ['abc']],
  ['"a\\"b\\n"', ['a"b\\n']],
  ['a \\\n  b', ['a', 'b']],
  ['a\\\nb', ['ab']],
  ['a\\', ['a']],
  ['', []],
  ['   ', []],
  ['"a', undefined],
  ["'a", undefined],
])('words of %j', (text, words) => {
  expect(splitShellWords(text)).toMatchObject(words === undefined ? { ok: false } : { ok: true, value: words });
});

test('quoted words come back as they were', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (words) => {
      const quoted = words.map((word) => `'${word.replaceAll("'", `'"'"'`)}'`).join(' ');
      expect(splitShellWords(quoted)).toEqual({ ok: true, value: words });
    }),
  );
});

test.each(['0.0.0.0', '127.0.0.1', '198.18.255.1'])('%s is IPv4', (text) => {
  expect(isIpv4(text)).toBe(true);
});
test.each(['1.2.3', '1.2.3.256', '01.2.3.4', '1.2.3.4.5', '', 'a.b.c.d'])('%s is not IPv4', (text) => {
  expect(isIpv4(text)).toBe(false);
});
test.each(['::', '::1', 'fe80::1', '1:2:3:4:5:6:7:8', '::ffff:1.2.3.4', '1::8'])('%s is IPv6', (text) => {
  expect(isIpv6(text)).toBe(true);
});
test.each(['', '1', ':::', '1::2::3', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', 'g::', '::1.2.3', '12345::'])(
  '%s is not IPv6',
  (text) => {
    expect(isIpv6(text)).toBe(false);
  },
);

test('the nearest word is found, a far one is not', () => {
  const keys = ['environment', 'image', 'ports', 'depends_on'];
  expect(nearest('enviroment', keys)).toBe('environment');
  expect(nearest('port', keys)).toBe('ports');
  expect(nearest('depends-on', keys)).toBe('depends_on');
  expect(nearest('iamge', keys)).toBe('image');
  expect(nearest('volumes', keys)).toBeUndefined();
});
