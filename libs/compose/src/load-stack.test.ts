import { StackSpec } from '@berth/contracts/workload';
import { expect, test } from 'vitest';
import { loadStack } from './index.ts';

test('the same file always encodes to the same bytes', () => {
  const load = (text: string) => {
    const result = loadStack({ files: [{ path: 'compose.yaml', text }], env: {}, workingDir: '/srv/app' });
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    return StackSpec.encode(result.spec).finish();
  };
  const first = load('services: {a: {image: x, environment: {B: 1, A: 2}}, b: {image: y}}');
  const second = load('services: {b: {image: y}, a: {environment: [A=2, B=1], image: x}}');
  expect(Buffer.from(first).toString('hex')).toBe(Buffer.from(second).toString('hex'));
});
