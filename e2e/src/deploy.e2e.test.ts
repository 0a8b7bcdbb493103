import { beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from './cluster.ts';
import { sharedCluster } from './cluster.ts';
import { helloService } from './web-image.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await sharedCluster();
});

const file = (over: { replicas?: number; image?: string; greeting?: string } = {}) => `
name: shop
services:
  web:
${helloService.replace('busybox:latest', over.image ?? 'busybox:latest')}
    environment: { GREETING: "${over.greeting ?? 'hello'}" }
    deploy: { replicas: ${over.replicas ?? 2} }
  db:
    image: redis:7
    volumes: ["data:/data"]
volumes:
  data:
`;

/** What stands of the host's network and of Docker that is Berth's. */
const leftovers = async () => {
  const read = (argv: string[]) => cluster.host.exec(argv);
  const docker = async (...args: string[]) => (await cluster.docker(args)).split('\n').filter(Boolean);
  return {
    containers: await docker('ps', '--all', '--quiet', '--filter', 'label=berth.stack=shop'),
    networks: await docker('network', 'ls', '--quiet', '--filter', 'label=berth.network'),
    devices: (await read(['ip', '-o', 'link'])).split('\n').filter((line) => / bt[0-9a-f]{8}/u.test(line)),
    tables: (await read(['nft', 'list', 'tables'])).split('\n').filter((line) => line.includes('berth')),
    accepts: (await read(['iptables', '-w', '-S', 'DOCKER-USER'])).split('\n').filter((line) => line.includes('berth')),
    volumes: await docker('volume', 'ls', '--quiet', '--filter', 'name=shop_'),
  };
};

describe('one Compose file', () => {
  let path: string;

  it('runs, and a second up changes nothing at all', async () => {
    path = cluster.compose('shop', file());
    await cluster.berth(['up', '-f', path]);
    const containers = await cluster.containers('shop');
    expect(containers).toHaveLength(3);
    const before = await cluster.json<unknown[]>(['ps', 'shop']);
    const revision = await prefixRevision();
    expect(await cluster.berth(['plan', '-f', path])).toContain('nothing changes');
    await cluster.berth(['up', '-f', path]);
    expect(await cluster.containers('shop')).toEqual(containers);
    expect(await prefixRevision()).toBe(revision);
    expect(await cluster.json<unknown[]>(['ps', 'shop'])).toEqual(before);
  });

  it('one replica more is one container more, as plan said', async () => {
    const before = await cluster.containers('shop');
    path = cluster.compose('shop', file({ replicas: 3 }));
    const plan = await cluster.json<{ changes: { name: string; tasksCreated: number; tasksReplaced: number }[] }>([
      'plan',
      '-f',
      path,
    ]);
    expect(plan.changes).toMatchObject([{ name: 'web', tasksCreated: 1, tasksReplaced: 0, tasksRemoved: 0 }]);
    await cluster.berth(['up', '-f', path]);
    const after = await cluster.containers('shop');
    expect(after).toHaveLength(4);
    expect(after).toEqual(expect.arrayContaining(before));
  });

  it.each([
    ['an environment value', { replicas: 3, greeting: 'bye' }],
    ['another image', { replicas: 3, greeting: 'bye', image: 'busybox:other' }],
  ])('%s replaces the tasks of that service alone, as plan said', async (_, over) => {
    await cluster.docker(['tag', 'busybox:latest', 'busybox:other']);
    const web = await cluster.containers('shop', 'web');
    const db = await cluster.containers('shop', 'db');
    path = cluster.compose('shop', file(over));
    const plan = await cluster.json<{ changes: unknown[] }>(['plan', '-f', path]);
    expect(plan.changes).toMatchObject([{ name: 'web', tasksCreated: 0, tasksReplaced: 3, tasksRemoved: 0 }]);
    await cluster.berth(['up', '-f', path]);
    const now = await cluster.containers('shop', 'web');
    expect(now).toHaveLength(3);
    for (const id of now) expect(web).not.toContain(id);
    expect(await cluster.containers('shop', 'db')).toEqual(db);
  });

  it('down leaves nothing but its volume, and down --volumes not even that', async () => {
    await cluster.berth(['down', 'shop']);
    const left = await leftovers();
    expect(left).toMatchObject({ containers: [], networks: [], devices: [], tables: [], accepts: [] });
    expect(left.volumes).toEqual(['shop_data']);
    // Where the volume lies is known as long as the volume is there.
    expect(await stackKeys()).toEqual(['scheduler/volume/default/shop_data']);
    await cluster.berth(['up', '-f', path]);
    await cluster.berth(['down', 'shop', '--volumes']);
    expect((await leftovers()).volumes).toEqual([]);
    expect(await stackKeys()).toEqual([]);
  });
});

/** The newest revision of anything that the scheduler owns, read from etcd itself. */
async function prefixRevision(): Promise<number> {
  const { kvs } = await etcd(['get', '--prefix', 'scheduler/']);
  return Math.max(...kvs.filter((kv) => !kv.key.includes('leader')).map((kv) => kv.mod_revision));
}

/** Keys of application stacks, networks and their endpoints. */
async function stackKeys(): Promise<string[]> {
  const { kvs } = await etcd(['get', '--prefix', '', '--keys-only']);
  return kvs
    .map((kv) => kv.key)
    .filter((key) =>
      /^(scheduler\/(stack|spec|service|version|task|status|volume|head\/stack)|registry\/(endpoint|head\/network)|network\/(network|range|block|head))/u.test(
        key,
      ),
    )
    .filter((key) => !key.includes('head/stack%2Eberth'));
}

/** Reads etcd as root, past all of Berth. */
async function etcd(args: readonly string[]): Promise<{ kvs: { key: string; mod_revision: number }[] }> {
  const certs = `${cluster.stateDir}/certs/etcd-client-bootstrap`;
  const out = await cluster.host.exec(
    [
      ...['etcdctl', '--endpoints', `https://${cluster.host.address}:7441`, '--write-out', 'json'],
      ...['--cacert', `${certs}/ca.pem`, '--cert', `${certs}/cert.pem`, '--key', `${certs}/key.pem`, ...args],
    ],
    { env: { ETCDCTL_API: '3' } },
  );
  const parsed = JSON.parse(out) as { kvs?: { key: string; mod_revision: number }[] };
  return { kvs: (parsed.kvs ?? []).map((kv) => ({ ...kv, key: Buffer.from(kv.key, 'base64').toString('utf8') })) };
}
