import type { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lease } from '@berth/contracts/network';
import { BerthError } from '@berth/kernel';
import { MemoryLogger } from '@berth/memory';
import type { Host, Lab } from '@berth/testing-hosts';
import { createLab, recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Block } from '../domain/network/blocks.ts';
import { BlockTable, blockOf } from '../domain/network/blocks.ts';
import { HostNetwork } from '../service/network/host-network.ts';
import { HostFirewall } from './firewall.ts';
import { HostKernelNetwork } from './kernel-network.ts';
import type { RunCommand } from './run-command.ts';

const clusterId = 'c1uster00';
const port = 8080;
/** Says the caller's address, then how much it was sent; over UDP it sends back what it gets. */
const server = `
const net = require('node:net'), dgram = require('node:dgram');
net.createServer((s) => { let n = 0; s.on('error', () => {}); s.on('data', (d) => { n += d.length; if (d.includes(10)) s.end(s.remoteAddress + ' ' + n); }); }).listen(${port}, '0.0.0.0');
const u = dgram.createSocket('udp4'); u.on('message', (m, r) => u.send(m, r.port, r.address)); u.bind(${port});`;
const client = (ip: string, bytes: number) => `
const s = require('node:net').connect(${port}, '${ip}', () => s.write(Buffer.alloc(${bytes - 1}, 'x') + '\\n'));
s.setTimeout(2000, () => { console.log('silence'); process.exit(); }); s.on('error', (e) => console.log(e.code)); s.on('data', (d) => console.log(String(d)));`;
const udp = (ip: string, bytes: number) => `
const u = require('node:dgram').createSocket('udp4'); u.on('message', (m) => { console.log(m.length); process.exit(); });
u.send(Buffer.alloc(${bytes}), ${port}, '${ip}'); setTimeout(() => { console.log('silence'); process.exit(); }, 2000);`;

/** A host as the agent has it: networks by blocks, bridges as Docker makes them, containers as namespaces. */
class Machine {
  readonly host: Host;
  readonly table = new BlockTable();
  readonly network: HostNetwork;

  constructor(host: Host, leases: Lease[]) {
    this.host = host;
    const run: RunCommand = async (file, args, input) => {
      const { code, stdout, stderr } = await host.tryExec([file, ...args], input === undefined ? {} : { stdin: input });
      if (code === 0) return stdout;
      throw new BerthError('Unavailable', `${file} ${args.join(' ')}: ${stderr}`, { reason: 'HOST_COMMAND_FAILED' });
    };
    this.network = new HostNetwork({
      clusterId,
      host: { address: host.address, vxlanPort: 7461 },
      kernel: new HostKernelNetwork({ clusterId, address: host.address, run }),
      firewall: new HostFirewall({ clusterId, run }),
      nameServer: { addresses: [], listen: async () => {}, close: async () => {} },
      log: new MemoryLogger(),
      leasesOf: (networkId) => leases.filter((lease) => lease.networkId === networkId),
      parts: () => ({ addresses: machines.map((machine) => machine.host.address), ports: [7461, 7401] }),
    });
  }

  async up(): Promise<void> {
    const docker = [
      '-P FORWARD DROP',
      '-N DOCKER-USER',
      '-A FORWARD -j DOCKER-USER',
      '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-A FORWARD -i bt+ -o eth0 -j ACCEPT',
    ];
    await this.host.exec(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.bridge.bridge-nf-call-iptables=1']);
    for (const rule of docker) await this.host.exec(['iptables', ...rule.split(' ')]);
  }

  /** What Docker does for a network. */
  async addBlock(block: Block): Promise<void> {
    const lines = [`link add ${block.device} type bridge`, `addr add ${block.gateway}/26 dev ${block.device}`];
    await this.ip([...lines, `link set ${block.device} up`]);
    const masquerade = `-t nat -A POSTROUTING -s ${block.block} ! -o ${block.device} -j MASQUERADE`;
    await this.host.exec(['iptables', ...masquerade.split(' ')]);
    this.table.addBlock(block);
  }

  async removeBlock(block: Block): Promise<void> {
    await this.ip([`link del ${block.device}`]);
    const masquerade = `-t nat -D POSTROUTING -s ${block.block} ! -o ${block.device} -j MASQUERADE`;
    await this.host.exec(['iptables', ...masquerade.split(' ')]);
    this.table.removeBlock(block.block);
  }

  ip(lines: readonly string[]): Promise<string> {
    return this.host.exec(['ip', '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
  }

  /** A container on the named networks; by the first it has its way out. */
  async container(name: string, stack: string, networks: readonly string[]): Promise<Container> {
    await this.ip([`netns add ${name}`]);
    const ips: string[] = [];
    for (const [i, network] of networks.entries()) {
      const { internal = false, driverOpts = {} } = this.table.blocksOf(stack, network)[0] ?? {};
      const spec = { name: network, driverOpts, internal, externalName: '' };
      const join = this.table.join(name, stack, { network, spec });
      const block = this.table.blocks.find((each) => each.dockerNetwork === join?.dockerNetwork);
      if (!join || !block) throw new Error(`no block of ${network}`);
      ips.push(join.ip);
      const link = `v${i}${name}`;
      await this.ip([
        `link add eth${i} mtu 1450 netns ${name} type veth peer name ${link}`,
        `link set ${link} master ${block.device} up`,
      ]);
      const way = i === 0 ? [`route add default via ${block.gateway} dev eth0`] : [];
      await this.host.exec(['ip', '-n', name, '-batch', '-'], {
        stdin: ['link set lo up', `addr add ${join.ip}/26 dev eth${i}`, `link set eth${i} up`, ...way, ''].join('\n'),
      });
    }
    const child = this.host.spawn(['ip', 'netns', 'exec', name, process.execPath, '-e', server], { stdio: 'ignore' });
    servers.push(child);
    return new Container(this.host, name, ips);
  }

  async counts(): Promise<Record<string, number>> {
    const script = `
      echo devices $(ip -o link | wc -l); echo rules $(ip rule | wc -l); echo routes $(ip route show table all | wc -l)
      echo neighbours $(ip neigh show nud permanent | wc -l); echo fdb $(bridge fdb | wc -l)
      echo nft $(nft list ruleset | wc -l)`;
    const lines = (await this.host.exec(['sh', '-c', script])).trim().split('\n');
    return Object.fromEntries(lines.map((line) => [line.split(' ')[0], Number(line.split(' ')[1])]));
  }
}

class Container {
  readonly #host: Host;
  readonly name: string;
  readonly ips: readonly string[];

  constructor(host: Host, name: string, ips: readonly string[]) {
    this.#host = host;
    this.name = name;
    this.ips = ips;
  }

  get address(): string {
    return this.ips[0] ?? '';
  }

  async run(...argv: string[]): Promise<string> {
    return (await this.#host.tryExec(['ip', 'netns', 'exec', this.name, ...argv])).stdout.trim();
  }

  /** What a server says: the address that it sees, and how many bytes came. */
  call(ip: string, bytes = 10): Promise<string> {
    return this.run(process.execPath, '-e', client(ip, bytes));
  }

  datagram(ip: string, bytes: number): Promise<string> {
    return this.run(process.execPath, '-e', udp(ip, bytes));
  }
}

const leases: Lease[] = [];
let lab: Lab;
let machines: Machine[] = [];
const servers: ReturnType<typeof spawn>[] = [];
beforeAll(async () => {
  lab = await createLab({ hosts: 2, engine: false });
  machines = lab.hosts.map((host) => new Machine(host, leases));
  for (const machine of machines) await machine.up();
});
afterAll(async () => {
  for (const child of servers) child.kill('SIGKILL');
  await lab.down();
});

/** The `i`th block of a network on a host. */
const block = (networkId: string, i: number, backend: string, vni: number): Block =>
  blockOf({
    networkId,
    stackId: networkId.slice(0, 1),
    network: networkId,
    block: `198.19.${vni}.${i * 64}/26`,
    internal: false,
    backend,
    vni: 5000 + vni,
    pool: '198.19.0.0/16',
  });
const leaseOf = ({ networkId, block: cidr }: Block, host: Host): Lease =>
  Lease.fromPartial({ networkId, block: cidr, nodeId: host.name, address: host.address, vxlanPort: 7461 });
const matchAll = async () => {
  for (const machine of machines) {
    machine.network.doubt();
    await machine.network.match(machine.table);
  }
};
/** Gives each host a block of each network, and programs it. */
async function carry(networks: readonly (readonly [string, string, number])[]): Promise<void> {
  for (const [networkId, backend, vni] of networks) {
    for (const [i, machine] of machines.entries()) {
      const held = block(networkId, i, backend, vni);
      await machine.addBlock(held);
      leases.push(leaseOf(held, machine.host));
    }
  }
  await matchAll();
}

describe('networks over two hosts', () => {
  const made = {} as Record<'a1' | 'a2' | 'g1' | 'g2' | 's1' | 's2' | 'm1', Container>;
  const reaches = async (from: Container, to: Container) => (await from.call(to.address)).startsWith('198.19.');
  beforeAll(async () => {
    await carry([
      ['a-front', 'vxlan', 1],
      ['g-front', 'host-gw', 2],
      ['s-other', 'vxlan', 3],
    ]);
    const [one, two] = machines as [Machine, Machine];
    made.a1 = await one.container('a1', 'a', ['a-front']);
    made.a2 = await two.container('a2', 'a', ['a-front']);
    made.g1 = await one.container('g1', 'g', ['g-front']);
    made.g2 = await two.container('g2', 'g', ['g-front']);
    made.s1 = await one.container('s1', 's', ['s-other']);
    made.s2 = await two.container('s2', 's', ['s-other']);
    await sleep(1_000);
  });
  beforeEach(matchAll);

  it('the target sees the caller’s own address, and 64 KiB pass, over both backends', async () => {
    for (const [from, to] of [
      [made.a1, made.a2],
      [made.a2, made.a1],
      [made.g1, made.g2],
      [made.g2, made.g1],
    ] as const) {
      expect(await from.call(to.address)).toBe(`${from.address} 10`);
      expect(await from.call(to.address, 65_536)).toBe(`${from.address} 65536`);
      expect(await from.datagram(to.address, 60_000)).toBe('60000');
    }
  });

  it('a stranger reaches nobody, on the same and on another host, also with routes and sources forged by hand', async () => {
    const { a1, a2, g1, g2, s1 } = made;
    const targets = [a1, a2, g1, g2];
    for (const target of targets)
      expect([target.name, await s1.call(target.address)]).toEqual([target.name, 'silence']);
    const [one] = machines as [Machine, Machine];
    const gateway = one.table.blocks.find(({ networkId }) => networkId === 's-other')?.gateway ?? '';
    const ways = [`via ${gateway}`, `via ${made.s2.address}`, ''];
    // Forged sources: of the target's own network, on this host and on the other, and of another stranger.
    const sources = ['198.19.1.60', '198.19.1.120', '198.19.2.60', '198.19.2.120', s1.address];
    const counts = () => Promise.all(targets.map(received));
    for (const way of ways) {
      const routes = targets.map(({ address }) => `route replace ${address}/32 ${way} dev eth0 onlink`);
      await s1.run('sh', '-c', `printf '${routes.join('\\n')}\\n' | ip -batch -`);
      for (const source of sources) {
        if (source !== s1.address) await s1.run('ip', 'addr', 'add', `${source}/32`, 'dev', 'eth0');
        const before = await counts();
        const pings = targets.map(({ address }) => `ping -c 2 -i 0.2 -W 0.5 -I ${source} ${address} &`);
        await s1.run('sh', '-c', `${pings.join(' ')} wait`);
        expect([way, source, await counts()]).toEqual([way, source, before]);
        if (source !== s1.address) await s1.run('ip', 'addr', 'del', `${source}/32`, 'dev', 'eth0');
      }
    }
    for (const target of targets) await s1.run('ip', 'route', 'del', `${target.address}/32`);
    // The same calls do arrive where they may: the test can fail.
    const before = await received(made.s2);
    await s1.run('ping', '-c', '1', '-W', '1', made.s2.address);
    expect((await received(made.s2)) - before).toBeGreaterThan(0);
  });

  it('no container sends VXLAN packets or calls parts of Berth on other hosts, nor anything on its own', async () => {
    const [one, two] = machines as [Machine, Machine];
    const listener = `require('node:net').createServer((s) => s.end('hello')).listen(7401, '0.0.0.0');
      const u = require('node:dgram').createSocket('udp4'); u.on('message', () => console.log('got')); u.bind(7000);`;
    for (const { host } of [one, two])
      servers.push(host.spawn([process.execPath, '-e', listener], { stdio: 'ignore' }));
    const call = (
      ip: string,
    ) => `const s = require('node:net').connect(7401, '${ip}'); s.setTimeout(1500, () => { console.log('silence'); process.exit(); });
      s.on('error', (e) => console.log(e.code)); s.on('data', (d) => console.log(String(d)));`;
    // From outside of containers both listeners do answer, once they are up.
    for (const { host } of [one, two]) {
      const answer = () => two.host.exec([process.execPath, '-e', call(host.address)]);
      await expect.poll(answer, { timeout: 15_000, interval: 200 }).toBe('hello\n');
    }
    for (const ip of [one.host.address, two.host.address, '198.19.1.1', '198.19.1.65', '198.19.3.65'])
      expect([ip, await made.s1.run(process.execPath, '-e', call(ip))]).toEqual([ip, 'silence']);
  });

  it('a container on several networks calls and answers on each, whichever is its way out', async () => {
    const [one, two] = machines as [Machine, Machine];
    for (const machine of [one, two]) {
      const extra = { ...block('a-back', machine === one ? 0 : 1, 'vxlan', 4) };
      await machine.addBlock(extra);
      leases.push(leaseOf(extra, machine.host));
    }
    made.m1 = await one.container('m1', 'a', ['a-back', 'a-front']);
    const b2 = await two.container('b2', 'a', ['a-back']);
    await matchAll();
    await sleep(1_000);
    const [back = '', front = ''] = made.m1.ips;
    expect(await made.m1.call(b2.address)).toBe(`${back} 10`);
    expect(await made.m1.call(made.a2.address)).toBe(`${front} 10`);
    expect(await made.a2.call(front)).toBe(`${made.a2.address} 10`);
    expect(await b2.call(back)).toBe(`${b2.address} 10`);
    expect(await made.a2.call(back)).toBe('silence');
    expect(await reaches(b2, made.a2)).toBe(false);
  });

  it('what was flushed or deleted by hand is back after one match, foreign things stay', async () => {
    const [one] = machines as [Machine, Machine];
    await one.ip(['link add foreign0 type vxlan id 77 dstport 7461 local 198.18.0.11', 'link set foreign0 up']);
    await one.ip(['route add 198.19.200.0/24 dev foreign0 proto static', 'rule add fwmark 0x99 lookup 99 pref 999']);
    await one.host.exec(['nft', 'add table inet foreign']);
    const overlay = (await one.host.exec(['ip', '-o', 'link'])).match(/bx[0-9a-f]{11}/gu) ?? [];
    expect(overlay.length).toBeGreaterThan(0);
    const breaks = [
      ['nft', 'delete', 'table', 'inet', `berth-${clusterId.slice(0, 8)}`],
      ['ip', 'link', 'del', overlay[0] ?? ''],
      ['sh', '-c', 'ip route flush proto 116'],
      ['sh', '-c', 'ip neigh flush nud permanent; iptables -F DOCKER-USER'],
      ['sh', '-c', 'iptables -F FORWARD; iptables -F DOCKER-USER; iptables -X DOCKER-USER'],
    ];
    for (const broken of breaks) {
      await one.host.exec(broken);
      await matchAll();
      expect([broken, await reaches(made.a1, made.a2), await reaches(made.g1, made.g2)]).toEqual([broken, true, true]);
      expect([broken, await reaches(made.s1, made.a2)]).toEqual([broken, false]);
    }
    expect(await one.host.exec(['ip', 'route', 'show', '198.19.200.0/24'])).toContain('foreign0');
    expect(await one.host.exec(['ip', 'rule'])).toContain('0x99');
    expect(await one.host.exec(['nft', 'list', 'tables'])).toContain('inet foreign');
  });

  it('a peer that goes is forgotten; what an agent that restarts finds and nobody wants goes', async () => {
    const [one] = machines as [Machine, Machine];
    const held = leases.splice(0);
    // Another object knows nothing of what the first has programmed.
    const restarted = new Machine(one.host, leases);
    for (const each of one.table.blocks) restarted.table.addBlock(each);
    await restarted.network.match(restarted.table);
    expect(await one.host.exec(['ip', 'route', 'show', 'proto', '116'])).toBe('');
    expect(await one.host.exec(['sh', '-c', 'ip -o link | grep -c ": bx" || true'])).toBe('0\n');
    leases.push(...held);
    await matchAll();
    expect(await reaches(made.a1, made.a2)).toBe(true);
  });
});

/** ICMP requests and first segments that got into a container. */
async function received(container: Container): Promise<number> {
  const text = await container.run('sh', '-c', "awk '/^Icmp:/ && $2 ~ /[0-9]/ {print $2}' /proc/net/snmp");
  return Number(text);
}

const rounds = process.env['BERTH_FULL'] ? 50 : 4;
it(`${rounds} rounds of up and down leave everything as before`, async ({ task }) => {
  const fresh = await createLab({ hosts: 2, engine: false });
  const before = machines;
  try {
    const own: Lease[] = [];
    machines = fresh.hosts.map((host) => new Machine(host, own));
    for (const machine of machines) await machine.up();
    const round = async (i: number) => {
      const kinds = [
        ['r-v', 'vxlan', 10 + i],
        ['r-g', 'host-gw', 100 + i],
      ] as const;
      for (const [networkId, backend, vni] of kinds) {
        for (const [at, machine] of machines.entries()) {
          const held = block(networkId, at, backend, vni);
          await machine.addBlock(held);
          own.push(leaseOf(held, machine.host));
        }
      }
      for (const machine of machines) await machine.network.match(machine.table);
      own.splice(0);
      for (const machine of machines) {
        for (const held of machine.table.blocks) await machine.removeBlock(held);
        machine.network.doubt();
        await machine.network.match(machine.table);
      }
    };
    // The first makes tables and chains of iptables that stay, empty.
    await round(0);
    const counts = await Promise.all(machines.map((machine) => machine.counts()));
    const startedAt = performance.now();
    for (let i = 1; i <= rounds; i++) await round(i);
    recordFigures(task, { rounds, seconds: Math.round((performance.now() - startedAt) / 100) / 10 });
    expect(await Promise.all(machines.map((machine) => machine.counts()))).toEqual(counts);
  } finally {
    machines = before;
    await fresh.down();
  }
});
