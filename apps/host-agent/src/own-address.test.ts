import { expect, it } from 'vitest';
import { ownAddressTowards } from './own-address.ts';

it('is the address that the kernel would send from', async () => {
  expect(await ownAddressTowards('127.0.0.1:7402')).toBe('127.0.0.1');
});

it('a peer whose name nobody knows is unavailable, for now', async () => {
  await expect(ownAddressTowards('no-such-host.invalid:7402')).rejects.toMatchObject({
    code: 'Unavailable',
    reason: 'NO_ROUTE',
  });
});
