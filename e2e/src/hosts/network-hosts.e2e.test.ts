import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../cluster.ts';
import { retry } from '../cluster.ts';
import { helloService } from '../web-image.ts';
import type { Rig } from './rig.ts';
import { full, startRig } from './rig.ts';

/** The full run has the machine for itself; beside other tests healing is looked at, not its time. */
const healedMs = full ? 5_000 : 20_000;
const idleMs = 20_000;
const upAndDown = 50;

/** Says the caller's address and how many bytes it sent, up to a line's end. */
const listener = `["node", "-e", "require('node:net').createServer((s) => { let n = 0; s.on('error', () => {}); s.on('data', (d) => { n += d.length; if (d.includes(10)) s.end(s.remoteAddress + ' ' + n); }); }).listen(8080, '0.0.0.0')"]`;

/** 6 web replicas, redis and a caller on each host; the caller can send any packet. */
const shop = (name: string, backend: string) => `
name: ${name}
services:
  web:
${helloService}
    deploy: { replicas: 6 }
  redis:
    image: redis:7
    stop_signal: SIGKILL
  caller:
    image: berth/guestbook:dev
    entrypoint: ${listener}
    cap_add: [NET_ADMIN]
    stop_signal: SIGKILL
    deploy: { mode: global }
networks:
  default:
    driver_opts: { berth.backend: ${backend} }
`;
/** api is on both networks, on each host. */
const tiers = (backend: string) => `
name: tiers
services:
${['web', 'api', 'db']
  .map(
    (service) => `  ${service}:
    image: berth/guestbook:dev
    entrypoint: ${listener}
    stop_signal: SIGKILL
    deploy: { mode: global }
    networks: [${{ web: 'front', api: 'front, back', db: 'back' }[service]}]
`,
  )
  .join('')}networks:
  front: { driver_opts: { berth.backend: ${backend} } }
  back: { internal: true }
`;
const stranger = `
name: stranger
services:
  forger:
    image: busybox:latest
    command: ["sleep", "100000"]
    cap_add: [NET_ADMIN]
    stop_signal: SIGKILL
    deploy: { mode: global }
`;
const backends = ['vxlan', 'host-gw'];

interface Container {
  readonly host: Host;
  readonly id: string;
  readonly hostname: string;
  /** On its networks, the first to call it at. */
  readonly ip: string;
  readonly ips: readonly string[];
}

let rig: Rig;
let cluster: Cluster;
beforeAll(async () => {
  rig = await startRig();
  cluster = rig.cluster;
  for (const backend of backends) await rig.up(shop(backend, backend));
  await rig.up(stranger);
});
afterAll(async () => {
  for (const name of [...backends, 'stranger', 'round', 'tiers']) await cluster.tryBerth(['down', name]);
});

/** Running containers of a service, host by host. */
async function containers(stack: string, service: string): Promise<Container[]> {
  const format = '{{.Id}} {{.Config.Hostname}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}';
  const found = await Promise.all(
    cluster.hosts.map(async (host) => {
      const filters = ['--filter', `label=berth.stack=${stack}`, '--filter', `label=berth.service=${service}`];
      const ids = (await host.docker(['ps', '--quiet', '--no-trunc', ...filters])).split('\n').filter(Boolean);
      if (ids.length === 0) return [];
      const lines = (await host.docker(['inspect', '--format', format, ...ids])).trim().split('\n');
      return lines.map((line) => {
        const [id = '', hostname = '', ...ips] = line.trim().split(' ');
        return { host, id, hostname, ips, ip: ips[0] ?? '' };
      });
    }),
  );
  return found.flat();
}
const inside = async (container: Container, script: string) =>
  (await container.host.tryExec(['docker', 'exec', container.id, 'sh', '-c', script])).stdout;
const node = async (container: Container, script: string) =>
  (await container.host.tryExec(['docker', 'exec', container.id, 'node', '-e', script])).stdout.trim();
/** Sends this many bytes to a caller's server, and gives what it says: the address that it sees, and the bytes. */
const send = (from: Container, to: Container, bytes: number) =>
  node(
    from,
    `const s = require('node:net').connect(8080, '${to.ip}', () => s.write(Buffer.alloc(${bytes - 1}, 'x') + '\\n'));
     s.setTimeout(3000, () => process.exit()); s.on('error', (e) => console.log(e.code)); s.on('data', (d) => console.log(String(d)));`,
  );
const get = (ip: string) => `timeout 5 wget -q -O - http://${ip}/`;

describe.each(backends)('a network over three hosts by %s', (backend) => {
  it('two web a host; each name is exactly the six; each answers as itself, to the caller’s own address', async () => {
    const web = await containers(backend, 'web');
    expect(cluster.hosts.map((host) => web.filter((each) => each.host === host).length)).toEqual([2, 2, 2]);
    const addresses = web.map(({ ip }) => ip).sort();
    const callers = await containers(backend, 'caller');
    expect(callers.map(({ host }) => host.name)).toEqual(cluster.hosts.map(({ name }) => name));
    for (const caller of callers) {
      const seen = (await inside(caller, 'getent ahosts web')).match(/198\.19\.\d+\.\d+/gu) ?? [];
      expect([...new Set(seen)].sort()).toEqual(addresses);
      expect((await inside(caller, 'getent ahosts redis')).match(/198\.19\.\d+\.\d+/gu)).not.toBeNull();
      for (const to of callers) {
        expect(await send(caller, to, 10)).toBe(`${caller.ip} 10`);
        expect(await send(caller, to, 65_536)).toBe(`${caller.ip} 65536`);
      }
    }
    for (const from of web) {
      const answers = await inside(from, addresses.map(get).join('; '));
      const names = addresses.map((ip) => web.find((each) => each.ip === ip)?.hostname);
      expect(answers.trim().split('\n')).toEqual(names);
    }
  });

  it.runIf(full || backend === 'vxlan')(
    'a container of another stack reaches none, on any host, with any forged route and source',
    async () => {
      const targets = [...(await containers(backend, 'web')), ...(await containers(backend, 'caller'))];
      const block = (ip: string) => ip.replace(/\.\d+$/u, (last) => `.${(Number(last.slice(1)) & ~63) + 60}`);
      const sources = [...new Set(targets.map(({ ip }) => block(ip)))];
      const forgers = await containers('stranger', 'forger');
      const own = (
        await inside(forgers[0] as Container, "ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'")
      ).trim();
      const forge = async (forger: Container) => {
        const gateway = (await inside(forger, "ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'")).trim();
        const neighbour = forgers.find((each) => each !== forger)?.ip ?? own;
        const calls = targets.map(({ ip }) => `timeout 2 wget -q -O /dev/null http://${ip}/ && echo reached ${ip} &`);
        const pings = (source: string) =>
          targets.map(({ ip }) => `ping -c 1 -W 1 -I ${source} ${ip} >/dev/null && echo ${source} reached ${ip} &`);
        for (const way of ['', `via ${gateway}`, `via ${neighbour}`]) {
          const routes = targets.map(({ ip }) => `ip route replace ${ip}/32 ${way} dev eth0 onlink`);
          const script = [
            ...(way === '' ? [] : routes),
            `${calls.join(' ')} wait`,
            ...sources.map((source) => `ip addr add ${source}/32 dev eth0`),
            `${sources.flatMap(pings).join(' ')} wait`,
            ...sources.map((source) => `ip addr del ${source}/32 dev eth0`),
          ].join('\n');
          expect([forger.host.name, way, await inside(forger, script)]).toEqual([forger.host.name, way, '']);
        }
      };
      const before = await Promise.all(targets.map(echoes));
      await Promise.all(forgers.map(forge));
      // Nor did a request get in whose answer could not come back.
      expect(await Promise.all(targets.map(echoes))).toEqual(before);
    },
  );
});

/** Echo requests that a container has taken in. */
async function echoes(container: Container): Promise<number> {
  const table = await inside(container, "awk '/^Icmp:/' /proc/net/snmp");
  const [names = '', values = ''] = table.trim().split('\n');
  return Number(values.split(' ')[names.split(' ').indexOf('InEchos')] ?? Number.NaN);
}

it.runIf(full).each(backends)(
  'a container on several networks calls and answers on each over hosts (%s)',
  async (backend) => {
    await rig.up(tiers(backend));
    const [web, api, db] = (await Promise.all(['web', 'api', 'db'].map((name) => containers('tiers', name)))) as [
      Container[],
      Container[],
      Container[],
    ];
    const range = (ip: string) => ip.split('.').slice(0, 3).join('.');
    const on = (each: Container, network: Container) => ({
      ...each,
      ip: each.ips.find((ip) => range(ip) === range(network.ip)) ?? '',
    });
    for (const [i, caller] of api.entries()) {
      const other = (i + 1) % api.length;
      for (const peers of [web, db] as const) {
        const peer = peers[other] as Container;
        const own = on(caller, peer);
        expect([caller.ips.length, await send(caller, peer, 10)]).toEqual([2, `${own.ip} 10`]);
        expect(await send(peer, own, 65_536)).toBe(`${peer.ip} 65536`);
      }
      // The networks stay apart all the same.
      expect(await send(web[i] as Container, db[other] as Container, 10)).toBe('');
    }
    await rig.down('tiers');
  },
);

it('no container reaches a part of Berth on another host', async () => {
  const [forger] = await containers('stranger', 'forger');
  const ports = [7401, 7402, 7411, 7421, 7431, 7432, 7441, 7442, 7451];
  const targets = cluster.hosts.flatMap(({ address }) => ports.map((port) => `${address} ${port}`));
  const calls = targets.map((target) => `nc -w 2 ${target} -e true >/dev/null 2>&1 && echo ${target} &`);
  expect(await inside(forger as Container, `${calls.join('\n')}\nwait`)).toBe('');
});

const ownTable = "$(nft list tables inet | grep -o 'inet berth-.*')";

const words = (text: string) => text.split(/[\s,]+/u).sort();

/** Breaks a host by hand, and waits until it is as before and its containers are reached. */
async function heals(command: readonly string[]): Promise<number> {
  const host = cluster.hosts[1] as Host;
  const state = async () => [
    // Elements of a set come in no order.
    words(await host.exec(['sh', '-c', `nft -s list table ${ownTable} || true`])),
    (await host.exec(['ip', 'route', 'show', 'proto', '116'])).split('\n').sort(),
    await host.exec(['sh', '-c', 'ls /sys/class/net | grep ^bx']),
  ];
  const before = await state();
  await host.exec([...command]);
  const startedAt = performance.now();
  await expect.poll(state, { timeout: healedMs, interval: 100 }).toEqual(before);
  const ms = Math.round(performance.now() - startedAt);
  for (const backend of backends) {
    const [from, to] = (await containers(backend, 'caller')).slice(0, 2) as [Container, Container];
    expect(await send(from, to, 10)).toBe(`${from.ip} 10`);
  }
  return ms;
}

describe('what is broken by hand is healed', () => {
  it.for([
    ['table flushed', `nft flush table ${ownTable}`],
    ['table deleted', `nft delete table ${ownTable}`],
    ['vxlan devices deleted', 'for d in $(ls /sys/class/net | grep ^bx); do ip link del $d; done'],
    ['routes deleted', 'ip route flush proto 116'],
  ] as const)('%s', async ([what, command], { task }) => {
    recordFigures(task, { [`${what}, ms`]: await heals(['sh', '-c', command]) });
  });
});

it.runIf(full)('an agent that only keeps its host as it is hardly works', async ({ task }) => {
  const [, host] = cluster.hosts as [Host, Host];
  const spent = async (): Promise<number> => {
    const pid = (await host.docker(['inspect', '--format', '{{.State.Pid}}', 'berth-agent'])).trim();
    // utime, stime, and those of the programs that it has run, in ticks of 10 ms. The engine's pids are the host's own.
    const stat = (await host.exec(['cat', `/proc/${pid}/stat`])).split(') ').at(-1)?.split(' ') ?? [];
    return stat.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * 10, 0);
  };
  await sleep(5_000);
  const before = await spent();
  await sleep(idleMs);
  const percent = Math.round(((await spent()) - before) / (idleMs / 1_000)) / 10;
  recordFigures(task, { 'cpu, % of a core': percent });
  // On a machine that does much else at once, the same work costs more.
  expect(percent).toBeLessThan(4);
});

it.runIf(full)('rounds of up and down leave the kernel’s tables as before', async ({ task }) => {
  const script = `
    echo devices $(ip -o link | grep -vc veth); echo rules $(ip rule | wc -l)
    echo routes $(ip route show table all | grep -v veth | wc -l)
    echo neighbours $(ip neigh show nud permanent | wc -l); echo fdb $(bridge fdb | grep -v veth | wc -l)
    echo filter $(iptables -S | wc -l); echo nat $(iptables -t nat -S | wc -l)
    echo own $(nft -s list table ${ownTable} | wc -l)`;
  const counts = () => Promise.all(cluster.hosts.map((host) => host.exec(['sh', '-c', script])));
  const before = await counts();
  for (let round = 0; round < upAndDown; round++) {
    const backend = backends[round % 2] as string;
    const text = `
name: round
services:
  web:
${helloService}
    deploy: { mode: global }
networks:
  default:
    driver_opts: { berth.backend: ${backend} }
`;
    await rig.up(text);
    await rig.down('round');
  }
  await retry(20_000, async () => expect(await counts()).toEqual(before));
  recordFigures(task, { rounds: upAndDown, counts: (before[0] ?? '').trim().replaceAll('\n', ', ') });
  await rig.judge.holds();
});

// Docker's own rules are gone with it, until its engine starts anew: the last but one.
it('the whole ruleset flushed: healed, and strangers stay out', async ({ task }) => {
  recordFigures(task, { 'ruleset flushed, ms': await heals(['nft', 'flush', 'ruleset']) });
  const [forger] = (await containers('stranger', 'forger')).slice(1);
  const targets = await containers('vxlan', 'web');
  const calls = targets.map(({ ip }) => `timeout 2 wget -q -O /dev/null http://${ip}/ && echo reached ${ip} &`);
  expect(await inside(forger as Container, `${calls.join(' ')} wait`)).toBe('');
});

it('all is gone with the last task', async () => {
  for (const name of [...backends, 'stranger']) await rig.down(name);
  for (const host of cluster.hosts) {
    const script = `ls /sys/class/net | grep -E '^b[tx]'; ip route show proto 116; nft list tables | grep berth
      iptables -S | grep berth; true`;
    expect(await host.exec(['sh', '-c', script])).toBe('');
  }
  await rig.judge.holds();
  // What others have to the hosts after this: an engine with its rules.
  const [, second] = cluster.hosts;
  await second?.killEngine();
  await second?.startEngine();
  await rig.statuses({ h2: 'ready' });
});
