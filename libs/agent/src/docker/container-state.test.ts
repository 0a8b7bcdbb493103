import { expect, it } from 'vitest';
import { explained } from './container-state.ts';

it.each([
  [
    'driver failed programming external connectivity on endpoint x (ab): Error starting userland proxy: ' +
      'listen tcp4 0.0.0.0:8080: bind: address already in use',
    '0.0.0.0:8080',
  ],
  ['Bind for 127.0.0.1:80 failed: port is already allocated', '127.0.0.1:80'],
  ['address already in use', 'of the task'],
])('%j names the host port, what the engine said, and a remedy', (error, address) => {
  expect(explained(error)).toContain(`host port ${address} is held by something else on this host`);
  expect(explained(error)).toContain(error);
  expect(explained(error)).toContain('Remedy: ');
});

it('other reasons stay as they are', () => {
  expect(explained('exec: "nope": executable file not found')).toBe('exec: "nope": executable file not found');
  expect(explained('')).toBe('');
});
