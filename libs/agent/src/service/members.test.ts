import type { Member } from '@berth/contracts/registry';
import { MemoryDisk, MemoryLogger } from '@berth/memory';
import { beforeEach, describe, expect, it } from 'vitest';
import { MemberDirectory } from './members.ts';

const registry = { role: 'service', name: 'registry' } as const;
const scheduler = { role: 'service', name: 'scheduler' } as const;
const member = (identity: string, address: string): Member => ({
  identity,
  instance: address,
  address,
  hostname: '',
  version: '',
  joinAddress: '',
});
const listed = (...addresses: string[]): Member[] =>
  addresses.map((address) => member(address.startsWith('r') ? 'service:registry' : 'service:scheduler', address));

let disk: MemoryDisk;
let log: MemoryLogger;
beforeEach(() => {
  disk = new MemoryDisk();
  log = new MemoryLogger();
});

const load = async (): Promise<MemberDirectory> => {
  const directory = new MemberDirectory({ disk, log });
  await directory.load();
  return directory;
};

describe('the member list', () => {
  it('is there again after a restart', async () => {
    await (await load()).update(listed('r:1', 's:1'));
    const again = await load();
    expect(again.addressesOf(registry)).toEqual(['r:1']);
    expect(again.addressesOf(scheduler)).toEqual(['s:1']);
  });

  it('forgets a scheduler that is gone, but no registry: the one that was away may be the one that is left', async () => {
    const directory = await load();
    await directory.update(listed('r:1', 'r:2', 's:1', 's:2'));
    await directory.update(listed('r:2', 's:2'));
    expect(directory.addressesOf(scheduler)).toEqual(['s:2']);
    for (const each of [directory, await load()]) expect(each.addressesOf(registry)).toEqual(['r:2', 'r:1']);
  });

  it('remembers no more registries than it can try', async () => {
    const directory = await load();
    for (let number = 1; number <= 20; number += 1) await directory.update(listed(`r:${number}`));
    expect(directory.addressesOf(registry)).toHaveLength(8);
    expect(directory.addressesOf(registry)[0]).toBe('r:20');
  });

  it.each(['cache/members', 'cache/registries'])('leads to a registry though %s is damaged', async (file) => {
    await (await load()).update(listed('r:1', 's:1'));
    await disk.write(file, new Uint8Array([1, 2, 3]));
    const again = await load();
    expect(again.addressesOf(registry)).toEqual(['r:1']);
    expect(log.lines.map(({ message }) => message)).toEqual(['a list of members is damaged']);
    await again.update(listed('r:1', 's:1'));
    expect((await load()).addressesOf(scheduler)).toEqual(['s:1']);
  });

  it('that a full disk refused is kept when there is room again', async () => {
    const directory = await load();
    disk.full = true;
    await directory.update(listed('r:1'));
    disk.full = false;
    await directory.update(listed('r:1'));
    expect((await load()).addressesOf(registry)).toEqual(['r:1']);
  });
});
