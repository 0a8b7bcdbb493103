import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { connect as connectTls } from 'node:tls';
import type { NatsBus } from '@berth/events-nats';
import { connectNats } from '@berth/events-nats';
import type { AuthorityMaterial } from '@berth/identity';
import { createAuthority, createCsr, createKey, signIdentity } from '@berth/identity';
import type { Identity } from '@berth/kernel';
import { formatIdentity } from '@berth/kernel';
import { MemoryLogger, SeededRng } from '@berth/memory';
import { freePort } from '@berth/testing-hosts';
import { eventually, realClock } from '@berth/testing-suites';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyRoute, natsConf, natsUsersConf } from './nats-permissions.ts';

const registry: Identity = { role: 'service', name: 'registry' };
const scheduler: Identity = { role: 'service', name: 'scheduler' };
const networkManager: Identity = { role: 'service', name: 'network-manager' };
const node: Identity = { role: 'node', id: 'n1' };
const operator: Identity = { role: 'operator', name: 'admin' };
const reader: Identity = { role: 'reader', name: 'r' };
const subscriber: Identity = { role: 'subscriber', name: 'audit' };
/** The manager's agent, when it makes the readers' copies. */
const copier: Identity = { role: 'service', name: 'nats' };
const everybody = [registry, scheduler, networkManager, copier, node, operator, reader, subscriber];
const readers = [operator, reader, subscriber];

/** Who may publish to a subject; written down apart from the code that grants it. */
const mayPublish: Readonly<Record<string, readonly Identity[]>> = {
  'berth.registry.changes.network.x': [registry],
  'berth.registry.head.node.n1': [registry],
  'berth.registry.beacon': [registry],
  'berth.scheduler.changes.stack.x': [scheduler],
  'berth.scheduler.beacon': [scheduler],
  'berth.network.changes.network.x': [networkManager],
  'berth.network.beacon': [networkManager],
  '$JS.API.STREAM.CREATE.LOG_REGISTRY': [registry],
  '$JS.API.STREAM.UPDATE.LOG_SCHEDULER': [scheduler],
  '$JS.API.STREAM.INFO.LOG_NETWORK': [networkManager],
  '$JS.API.STREAM.CREATE.BERTH_REGISTRY': [copier],
  '$JS.API.STREAM.INFO.BERTH_NETWORK': [copier, ...readers],
  '$JS.API.STREAM.PURGE.BERTH_REGISTRY': [],
  '$JS.API.STREAM.DELETE.BERTH_REGISTRY': [],
  '$JS.API.STREAM.DELETE.LOG_REGISTRY': [],
  '$JS.API.CONSUMER.CREATE.LOG_REGISTRY': [],
  'berth-copy.api.CONSUMER.CREATE.LOG_REGISTRY': [],
  'berth-copy.deliver.x': [],
  '$JS.API.STREAM.CREATE.OTHER': [],
  '$JS.API.CONSUMER.CREATE.BERTH_SCHEDULER.audit': readers,
  '$JS.API.CONSUMER.MSG.NEXT.BERTH_SCHEDULER.audit': readers,
  '$JS.ACK.BERTH_SCHEDULER.audit.1.1.1.1.1': readers,
  'something.else': [],
  '$SYS.REQ.SERVER.PING': [],
};

/** Who may subscribe to a subject. */
const maySubscribe: Readonly<Record<string, readonly Identity[]>> = {
  'berth.registry.changes.>': [node, ...readers],
  'berth.registry.changes.network.x': [node, ...readers],
  'berth.registry.head.network.x': [node, ...readers],
  'berth.registry.beacon': [node, ...readers],
  'berth.network.changes.network.x': [node, ...readers],
  'berth.network.beacon': [node, ...readers],
  'berth.scheduler.changes.stack.x': readers,
  'berth.scheduler.beacon': readers,
  '_INBOX.abc': [registry, scheduler, networkManager, copier, ...readers],
  'berth-copy.deliver.>': [],
  '>': [],
  'berth.>': [],
  '$JS.API.>': [],
  '$SYS.>': [],
};

let folder: string;
let port: number;
let server: ChildProcess;
let authority: AuthorityMaterial;
const clients: TLSSocket[] = [];

async function certificateOf(identity: Identity, from = authority): Promise<{ cert: string; key: string; ca: string }> {
  const key = await createKey();
  const csr = await createCsr(key);
  const cert = await signIdentity(from, { identity, csr, addresses: ['127.0.0.1'], nowMs: Date.now() });
  return { cert, key, ca: authority.certPem };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-nats-'));
  authority = await createAuthority({ commonName: 'Berth cluster test', nowMs: Date.now() });
  const tls = await certificateOf({ role: 'service', name: 'nats' });
  for (const name of ['cert', 'key', 'ca'] as const) writeFileSync(join(folder, `${name}.pem`), tls[name]);
  port = await freePort();
  const storeDir = join(folder, 'data');
  writeFileSync(
    join(folder, 'nats.conf'),
    natsConf({ host: '127.0.0.1', port, serverName: 'test', certs: folder, storeDir }),
  );
  writeFileSync(join(folder, 'users.conf'), natsUsersConf(everybody));
  server = spawn('nats-server', ['--config', join(folder, 'nats.conf')], { stdio: ['ignore', 'ignore', 'ignore'] });
  for (let tries = 0; tries < 200 && !(await listens()); tries += 1) await sleep(50);
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  const ended = new Promise((resolve) => server.once('exit', resolve));
  server.kill();
  await ended;
  rmSync(folder, { recursive: true });
});

function listens(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp({ port, host: '127.0.0.1' });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** The protocol by hand: what the server says to each line, with no library between. */
class Client {
  readonly socket: TLSSocket;
  #received = '';

  constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on('data', (data) => {
      this.#received += String(data);
    });
  }

  /** Sends a line and returns all that comes back until the server answers a ping; "closed" when it hangs up. */
  async ask(line: string): Promise<string> {
    this.#received = '';
    this.socket.write(`${line}\r\nPING\r\n`);
    while (!this.#received.includes('PONG')) {
      if (this.socket.closed || this.socket.readyState !== 'open') return `${this.#received}closed`;
      await sleep(2);
    }
    return this.#received;
  }
}

async function dial(tls: { cert?: string; key?: string; ca: string }): Promise<Client> {
  const raw = connectTcp({ port, host: '127.0.0.1' });
  await new Promise((resolve) => raw.once('data', resolve));
  const socket = connectTls({ socket: raw, ...tls, servername: 'nats.service.berth' });
  clients.push(socket);
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('secureConnect', resolve).once('close', resolve));
  return new Client(socket);
}

const hello =
  'CONNECT {"verbose":false,"pedantic":false,"tls_required":true,"headers":true,"protocol":1,"lang":"t","version":"0"}';

describe('nats-server with the generated configuration', () => {
  it.each(everybody.map((identity) => [formatIdentity(identity), identity] as const))(
    'lets %s do what its role needs, and nothing else',
    async (_name, identity) => {
      const client = await dial(await certificateOf(identity));
      expect(await client.ask(hello)).not.toMatch(/-ERR|closed/u);
      for (const [subject, who] of Object.entries(mayPublish)) {
        const answer = await client.ask(`PUB ${subject} 0\r\n`);
        expect(/Permissions Violation for Publish/u.test(answer), `publish ${subject}`).toBe(!who.includes(identity));
      }
      let id = 0;
      for (const [subject, who] of Object.entries(maySubscribe)) {
        id += 1;
        const answer = await client.ask(`SUB ${subject} ${id}`);
        expect(/Permissions Violation for Subscription/u.test(answer), `subscribe ${subject}`).toBe(
          !who.includes(identity),
        );
      }
    },
  );

  it.each([
    ['no user is mapped to', () => certificateOf({ role: 'node', id: 'stranger' })],
    [
      'another CA signed',
      async () =>
        certificateOf(operator, await createAuthority({ commonName: 'Berth cluster test', nowMs: Date.now() })),
    ],
    ['is missing', async () => ({ ca: authority.certPem })],
  ])('refuses a client whose certificate %s', async (_what, tls) => {
    const client = await dial(await tls());
    expect(await client.ask(hello)).toMatch(/Authorization Violation|closed/u);
    expect(await client.ask('PUB berth.registry.beacon 0\r\n')).toContain('closed');
  });

  it("lets the product's own client keep its log and deliver to a node and a subscriber", async () => {
    const bus = async (identity: Identity): Promise<NatsBus> => {
      const tls = await certificateOf(identity);
      const name = 'nats.service.berth';
      const options = { servers: () => [`127.0.0.1:${port}`], tls: () => tls, serverName: name, clock: realClock };
      return connectNats({ ...options, rng: new SeededRng(1), logger: new MemoryLogger() });
    };
    const buses = await Promise.all([registry, node, subscriber].map(bus));
    const [owner, ...listeners] = buses;
    await eventually(() => buses.every((each) => each.connected));
    const end = new AbortController();
    const seen: string[] = [];
    for (const listener of listeners) {
      void (async () => {
        const messages = listener.subscribe('berth.registry.changes.network.x', { signal: end.signal });
        for await (const { subject } of messages) seen.push(subject);
      })();
    }
    const log = owner?.log('LOG_REGISTRY');
    await log?.ensure({ subjects: ['berth.registry.changes.>'] });
    // Subscriptions are on their way.
    await sleep(200);
    const event = { subject: 'berth.registry.changes.network.x', messageId: '1', data: Buffer.from('{}') };
    const before = (await log?.lastSequence()) ?? 0;
    await log?.append({ ...event, expectedLastSequence: before });
    expect(await log?.last()).toMatchObject({ sequence: before + 1, messageId: '1' });
    await eventually(() => seen.length === 2);
    end.abort();
    for (const each of buses) await each.close();
  });

  it('copies the log for readers, whose consumers reach no agent, whatever they are told to deliver where', async () => {
    const bus = async (identity: Identity): Promise<NatsBus> => {
      const tls = await certificateOf(identity);
      const name = 'nats.service.berth';
      const options = { servers: () => [`127.0.0.1:${port}`], tls: () => tls, serverName: name, clock: realClock };
      return connectNats({ ...options, rng: new SeededRng(1), logger: new MemoryLogger() });
    };
    const [owner, copies] = await Promise.all([registry, copier].map(bus));
    await eventually(() => owner?.connected === true && copies?.connected === true);
    const log = owner?.log('LOG_REGISTRY');
    await log?.ensure({ subjects: ['berth.registry.changes.>'] });
    const copy = copies?.log('BERTH_REGISTRY');
    const event = (messageId: string) => ({
      subject: 'berth.registry.changes.a',
      messageId,
      data: Buffer.from(messageId),
    });
    let last = (await log?.lastSequence()) ?? 0;
    // The copy begins late: it has what was there before, at the same place.
    await log?.append({ ...event('copied-1'), expectedLastSequence: last++ });
    for (let twice = 0; twice < 2; twice += 1) {
      await copy?.ensureCopy({ stream: 'LOG_REGISTRY', ...copyRoute });
    }
    await log?.append({ ...event('copied-2'), expectedLastSequence: last++ });
    await eventually(async () => (await copy?.lastSequence()) === last);

    const agent = await dial(await certificateOf(node));
    await agent.ask(hello);
    for (const [id, subject] of ['berth.registry.changes.>', 'berth.registry.beacon'].entries()) {
      await agent.ask(`SUB ${subject} ${id}`);
    }
    const heard: string[] = [];
    agent.socket.on('data', (data) => heard.push(...(String(data).match(/MSG \S+/gu) ?? [])));
    const evil = await dial(await certificateOf(subscriber));
    await evil.ask(hello);
    for (const target of ['berth.registry.beacon', 'berth.registry.changes.a']) {
      const name = `evil-${target.length}`;
      const config = { durable_name: name, deliver_subject: target, deliver_policy: 'all', ack_policy: 'none' };
      const body = JSON.stringify({ stream_name: 'BERTH_REGISTRY', config });
      await evil.ask(`SUB ${target} 9${target.length}`);
      await evil.ask(`PUB $JS.API.CONSUMER.DURABLE.CREATE.BERTH_REGISTRY.${name} _INBOX.e ${body.length}\r\n${body}`);
      const get = JSON.stringify({ seq: last });
      await evil.ask(`PUB $JS.API.STREAM.MSG.GET.BERTH_REGISTRY ${target} ${get.length}\r\n${get}`);
    }
    await sleep(500);
    expect(heard).toEqual([]);
    // A reader who means well gets the first event of the copy, from a consumer of its own.
    const good = await dial(await certificateOf(reader));
    await good.ask(hello);
    await good.ask('SUB _INBOX.good.> 1');
    const config = { durable_name: 'good', ack_policy: 'explicit', deliver_policy: 'all' };
    const create = JSON.stringify({ stream_name: 'BERTH_REGISTRY', config });
    const api = '$JS.API.CONSUMER';
    await good.ask(`PUB ${api}.DURABLE.CREATE.BERTH_REGISTRY.good _INBOX.good.a ${create.length}\r\n${create}`);
    let answers = '';
    good.socket.on('data', (data) => {
      answers += String(data);
    });
    await good.ask(`PUB ${api}.MSG.NEXT.BERTH_REGISTRY.good _INBOX.good.b 1\r\n1`);
    await eventually(() => /H?MSG berth\.registry\.changes\.\S+ 1 \$JS\.ACK\.BERTH_REGISTRY\.good/u.test(answers));
    // What the owner says is heard all the same.
    await log?.append({ ...event('copied-3'), expectedLastSequence: last });
    await eventually(() => heard.length > 0);
    expect(heard).toEqual(['MSG berth.registry.changes.a']);
    for (const each of [owner, copies]) await each?.close();
  });

  it('cuts a removed user off at the next reload, and leaves the others alone', async () => {
    const [removed, kept] = [await dial(await certificateOf(node)), await dial(await certificateOf(subscriber))];
    for (const client of [removed, kept]) await client.ask(hello);
    writeFileSync(join(folder, 'users.conf'), natsUsersConf(everybody.filter((identity) => identity !== node)));
    server.kill('SIGHUP');
    const started = performance.now();
    while (!removed.socket.closed && performance.now() - started < 5_000) await sleep(10);
    expect(removed.socket.closed).toBe(true);
    expect(await kept.ask('SUB berth.scheduler.beacon 99')).not.toMatch(/-ERR|closed/u);
    expect(await (await dial(await certificateOf(node))).ask(hello)).toMatch(/Authorization Violation|closed/u);
  });
});
