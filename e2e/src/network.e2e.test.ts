import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from './cluster.ts';
import { startCluster } from './cluster.ts';
import { helloService } from './web-image.ts';

const replicas = 90;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
  const app = `
name: app
services:
  web:
${helloService}
    deploy: { replicas: ${replicas} }
  caller:
    image: berth/guestbook:dev
    entrypoint: ["sleep", "100000"]
    stop_signal: SIGKILL
`;
  const other = `
name: other
services:
  stranger:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
`;
  await cluster.berth(['up', '-f', cluster.compose('app', app)]);
  await cluster.berth(['up', '-f', cluster.compose('other', other)]);
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

interface Container {
  readonly id: string;
  readonly hostname: string;
  readonly ip: string;
}

const containers = async (stack: string, service: string): Promise<Container[]> => {
  const ids = await cluster.containers(stack, service);
  const format = '{{.Id}} {{.Config.Hostname}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
  const lines = (await cluster.docker(['inspect', '--format', format, ...ids])).trim().split('\n');
  return lines.map((line) => {
    const [id = '', hostname = '', ip = ''] = line.split(' ');
    return { id, hostname, ip };
  });
};
const inside = async (container: Container, script: string) =>
  cluster.host.tryExec(['docker', 'exec', container.id, 'sh', '-c', script]);
const ips = (text: string) => [...new Set(text.match(/198\.19\.\d+\.\d+/gu) ?? [])].sort();

describe('names and addresses', () => {
  it(`gives exactly the addresses of ${replicas} healthy tasks, through libc and directly`, async () => {
    const web = (await containers('app', 'web')).map(({ ip }) => ip).sort();
    expect(web).toHaveLength(replicas);
    const [caller] = await containers('app', 'caller');
    const [peer] = await containers('app', 'web');
    expect(ips((await inside(caller as Container, 'getent ahosts web')).stdout)).toEqual(web);
    const resolver = `const r = new (require('node:dns').Resolver)(); r.setServers(['127.0.0.11']);
      r.resolve4('web', (e, ips) => console.log(e ?? ips.join(' ')));`;
    const direct = await cluster.inContainer((caller as Container).id, ['node', '-e', resolver]);
    expect(ips(direct.stdout)).toEqual(web);
    // A client that neither knows EDNS nor comes again over TCP gets what fits into 512 bytes, and all of it is right.
    const few = ips((await inside(peer as Container, 'nslookup -type=a web 127.0.0.11')).stdout);
    expect(few.length).toBeGreaterThan(10);
    expect(web).toEqual(expect.arrayContaining(few));
    expect(ips((await inside(caller as Container, 'getent ahosts web.17')).stdout)).toHaveLength(1);
  });

  it('each task answers with its own host name, and its log shows the caller’s address', async () => {
    const all = await containers('app', 'web');
    // The caller of the first block reaches tasks of every block.
    const first = all[0] as Container;
    const script = all.map(({ ip }) => `timeout 5 wget -q -O - http://${ip}/ || echo ${ip} does not answer`).join('\n');
    const answers = (await inside(first, script)).stdout.trim().split('\n');
    expect(answers).toEqual(all.map(({ hostname }) => hostname));
    const blocks = new Set(all.map(({ ip }) => Math.floor(Number(ip.split('.')[3]) / 64)));
    expect(blocks.size).toBeGreaterThan(1);
    for (const target of [all[1], all.at(-1)] as Container[]) {
      const log = await cluster.host.tryExec(['docker', 'logs', target.id]);
      expect(log.stdout + log.stderr).toContain(first.ip);
    }
  });

  // All pairs with BERTH_FULL; else each task asks the next five, over the border of the blocks too: as many as Linux's
  // table of neighbours holds at a time.
  const peersOfEach = process.env['BERTH_FULL'] ? 69 : 5;
  it(`70 tasks reach each other (${peersOfEach} others each)`, async () => {
    const some = (await containers('app', 'web')).slice(0, 70);
    // Linux holds 1,024 neighbours in all namespaces together (gc_thresh3): 4,830 pairs in a minute overflow that for a
    // moment, whatever the network, so an address gets three tries.
    const get = 'timeout 3 wget -q -O /dev/null http://$ip/ 2>/dev/null';
    for (const [index, from] of some.entries()) {
      const peers = [...some, ...some].slice(index + 1, index + 1 + peersOfEach).map(({ ip }) => ip);
      const script = `for ip in ${peers.join(' ')}; do ${get} || { sleep 4; ${get}; } || { sleep 8; ${get}; } || echo $ip; done`;
      expect((await inside(from, script)).stdout).toBe('');
    }
  });
});

describe('isolation', () => {
  it('a container of another stack reaches none of those addresses, nor their names', async () => {
    const [stranger] = (await containers('other', 'stranger')) as [Container];
    const all = await containers('app', 'web');
    expect((await inside(stranger, 'nslookup -type=a web 127.0.0.11')).stdout).not.toMatch(/198\.19\./u);
    const script = all
      .map(({ ip }) => `timeout 1 wget -q -O /dev/null http://${ip}/ && echo reached ${ip} &`)
      .join('\n');
    expect((await inside(stranger, `${script}\nwait`)).stdout).toBe('');
  });

  it('no container reaches a port of the control plane or the agent, nor another network’s gateway; without Berth’s rules it would', async () => {
    const [stranger] = (await containers('other', 'stranger')) as [Container];
    const own = (await inside(stranger, "ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'")).stdout.trim();
    const gateways = [
      ...(await cluster.host.exec(['ip', '-o', '-4', 'addr'])).matchAll(/ bt\w+ +inet (198\.19\.[\d.]+)/gu),
    ]
      .map((match) => match[1] ?? '')
      .filter((gateway) => gateway !== own);
    expect(gateways.length).toBeGreaterThan(1);
    const ports = [7401, 7402, 7403, 7411, 7413, 7421, 7423, 7431, 7432, 7433, 7441, 7442, 7451];
    const targets = [
      ...ports.flatMap((port) => [`${cluster.host.address} ${port}`, `${own} ${port}`]),
      ...gateways.flatMap((gateway) => [`${gateway} 53`, `${gateway} 7401`]),
    ];
    const script = `${targets.map((target) => `nc -w 2 ${target} -e true >/dev/null 2>&1 && echo ${target} &`).join('\n')}\nwait`;
    expect((await inside(stranger, script)).stdout).toBe('');
    // The same with the rules flushed, while the agent that would heal them is held: the test can fail.
    await cluster.docker(['pause', 'berth-agent']);
    const table = (await cluster.host.exec(['nft', 'list', 'tables'])).match(/inet (berth-\w+)/u)?.[1] ?? '';
    await cluster.host.exec(['nft', 'flush', 'table', 'inet', table]);
    expect((await inside(stranger, script)).stdout).toContain(`${cluster.host.address} 7401`);
    await cluster.docker(['unpause', 'berth-agent']);
    await expect.poll(async () => (await inside(stranger, script)).stdout, { timeout: 15_000 }).toBe('');
  });
});
