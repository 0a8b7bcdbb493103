import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execute, run } from './exec.ts';
import type { OwnedDirectory } from './owned-directory.ts';
import { createOwnedDirectory, removeOwnedDirectory } from './owned-directory.ts';

/**
 * A network namespace at the end of a cable of its own, with a /30 out of 198.19.192.0/18: what runs in it is reached
 * at `address`, and can be cut off as by a pulled plug, with no reset and no refused connection to tell the peer.
 * The namespace has no default route, and packets are dropped inside it: the machine's own rules stay as they are.
 */
export interface Link {
  /** Of the namespace, and of the machine's end of the cable. */
  readonly name: string;
  /** Of the namespace. */
  readonly address: string;
  /** Of the machine's end of the cable. */
  readonly peerAddress: string;
  /** The command line that runs the rest of it inside the namespace. */
  readonly enter: readonly string[];
  drop(): Promise<void>;
  heal(): Promise<void>;
  remove(): Promise<void>;
}

const networks = 4096;
const attempts = 64;

export async function createLink(): Promise<Link> {
  const directory = createOwnedDirectory('link');
  for (let attempt = 0; attempt < attempts; attempt++) {
    const index = randomInt(networks);
    // The namespace's name is the claim: two processes can't both make it.
    const claimed = await execute(['ip', 'netns', 'add', linkName(index)]);
    if (claimed.code === 0) return await connect(index, directory);
    if (!claimed.stderr.includes('File exists')) throw new Error(`ip netns add: ${claimed.stderr.trim()}`);
  }
  throw new Error(`no free network for a link after ${attempts} attempts`);
}

/** Removes a link that a crashed run left, from what its directory records. */
export async function removeLink(directory: OwnedDirectory, name: string): Promise<void> {
  // Only the device: the namespace, and with it the other end, lives until its last process is gone.
  await execute(['ip', 'link', 'del', name]);
  await execute(['ip', 'netns', 'del', name]);
  removeOwnedDirectory(directory);
}

export const linkNameFile = 'name';

async function connect(index: number, directory: OwnedDirectory): Promise<Link> {
  const name = linkName(index);
  writeFileSync(join(directory.path, linkNameFile), name);
  const network = `198.19.${192 + (index >> 6)}`;
  const first = (index & 63) * 4;
  const peerAddress = `${network}.${first + 1}`;
  const address = `${network}.${first + 2}`;
  const enter = ['nsenter', `--net=/run/netns/${name}`, '--'];
  const nft = async (script: string): Promise<void> => {
    await run([...enter, 'nft', '-f', '-'], { stdin: script });
  };
  await run(['ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name]);
  await run([...enter, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1']);
  await run(['ip', '-n', name, '-batch', '-'], {
    stdin: `link set lo up\naddr add ${address}/30 dev eth0\nlink set eth0 up\n`,
  });
  await run(['ip', '-batch', '-'], { stdin: `addr add ${peerAddress}/30 dev ${name}\nlink set ${name} up\n` });
  return {
    name,
    address,
    peerAddress,
    enter,
    drop: () => nft(cutOff),
    heal: () => nft('table inet cut\ndelete table inet cut\n'),
    remove: () => removeLink(directory, name),
  };
}

const cutOff = `
table inet cut
delete table inet cut
table inet cut {
  chain from_peer { type filter hook prerouting priority -400; policy drop; }
  chain to_peer { type filter hook postrouting priority 400; policy drop; }
}
`;

function linkName(index: number): string {
  return `berth-l${index}`;
}
