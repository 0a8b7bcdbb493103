import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { loadStack, renderProblems } from '@berth/compose';
import type { ServiceSpec } from '@berth/contracts/workload';
import { createAuthority, createCsr, createKey, signIdentity, signSubject } from '@berth/identity';
import { freePort } from '@berth/testing-hosts';
import { natsConf, natsUsersConf } from '@berth/workload';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// The real etcd, bootstrap and nats-server with exactly the flags, settings and probes of the file, on this machine;
// only the folders that a container would see are other ones.
const path = join(import.meta.dirname, 'control-plane.yaml');
const children: ChildProcess[] = [];
let folder: string;
let services: ReadonlyMap<string, ServiceSpec>;
let ports: Record<string, string>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-control-plane-'));
  const port = async (): Promise<string> => String(await freePort());
  ports = {
    BERTH_ETCD_PORT: await port(),
    BERTH_ETCD_PEER_PORT: await port(),
    BERTH_ETCD_METRICS_PORT: await port(),
    BERTH_NATS_PORT: await port(),
    BERTH_NATS_HTTP_PORT: await port(),
  };
  const env = { ...ports, BERTH_STATE_DIR: folder, BERTH_CLUSTER_ID: 'c1', BERTH_JOIN_TOKEN_HASH: 'a'.repeat(64) };
  const result = loadStack({
    files: [{ path, text: readFileSync(path, 'utf8') }],
    env,
    workingDir: folder,
    projectName: 'berth',
    profiles: ['ha'],
  });
  if (!result.ok) throw new Error(renderProblems(result.problems));
  services = new Map(result.spec.services.map((service) => [service.name, service]));
  await certificates();
});
afterAll(async () => {
  for (const child of children) {
    const ended =
      child.exitCode === null && child.signalCode === null && new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

async function certificates(): Promise<void> {
  const nowMs = Date.now();
  const etcd = await createAuthority({ commonName: 'Berth etcd c1', nowMs });
  const cluster = await createAuthority({ commonName: 'Berth cluster c1', nowMs });
  const addresses = ['127.0.0.1'];
  const write = (name: string, files: Record<string, string>): void => {
    mkdirSync(join(folder, 'certs', name), { recursive: true });
    for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, 'certs', name, `${file}.pem`), text);
  };
  for (const [name, commonName, dnsNames] of [
    ['etcd', 'etcd', ['localhost']],
    ['etcd-client-bootstrap', 'root', []],
    ['etcd-client-registry', 'registry', []],
  ] as const) {
    const key = await createKey();
    const csr = await createCsr(key);
    const cert = await signSubject(etcd, { csr, commonName, dnsNames, addresses, nowMs });
    write(name, { cert, key, ca: etcd.certPem });
  }
  const key = await createKey();
  const identity = { role: 'service', name: 'nats' } as const;
  const cert = await signIdentity(cluster, { identity, csr: await createCsr(key), addresses, nowMs });
  write('nats', { cert, key, ca: cluster.certPem });
}

function service(name: string): ServiceSpec {
  const found = services.get(name);
  if (found === undefined) throw new Error(`no service ${name}`);
  return found;
}

/** What the container would see at `target`, here. */
function hostPath(name: string, target: string): string {
  const mount = service(name).container?.mounts.find(
    (each) => target === each.target || target.startsWith(`${each.target}/`),
  );
  return mount === undefined ? target : target.replace(mount.target, mount.source);
}

function start(command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: 'ignore' });
  children.push(child);
  return child;
}

/** The file's own probe; its exit code. */
function probe(name: string): number | null {
  const test = service(name).container?.healthcheck?.test ?? [];
  const [kind, command = '', ...args] = test;
  expect(kind).toBe('CMD');
  return spawnSync(command, args, { timeout: 10_000 }).status;
}

async function untilHealthy(name: string): Promise<void> {
  for (let tries = 0; tries < 200 && probe(name) !== 0; tries += 1) await sleep(50);
  expect(probe(name), `${name} is healthy`).toBe(0);
}

/** What etcd's peer port says to somebody with this certificate; empty when it hangs up. */
function askPeerPort(certificate: string): Promise<string> {
  const file = (name: string): Buffer => readFileSync(join(folder, 'certs', certificate, name));
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect({
      host: '127.0.0.1',
      port: Number(ports['BERTH_ETCD_PEER_PORT']),
      ...{ cert: file('cert.pem'), key: file('key.pem'), ca: file('ca.pem') },
    });
    socket.on('secureConnect', () => socket.write('GET /version HTTP/1.0\r\n\r\n'));
    socket.on('data', (data) => (answer += String(data)));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}

describe('control-plane.yaml', () => {
  it('starts an etcd whose probe says whether it is alive, and bootstraps it', async () => {
    expect(probe('etcd')).not.toBe(0);
    const args = (service('etcd').container?.command?.values ?? []).map((arg) => {
      const [flag = '', value] = arg.split('=/');
      return value === undefined ? arg : `${flag}=${hostPath('etcd', `/${value}`)}`;
    });
    const etcd = start('etcd', args);
    await untilHealthy('etcd');
    const { environment = {} } = service('bootstrap').container ?? {};
    const main = join(import.meta.dirname, '../../apps/bootstrap/src/main.ts');
    const run = () =>
      spawnSync(process.execPath, [main], {
        env: { PATH: process.env['PATH'], ...environment, BERTH_ETCD_CERTS: hostPath('bootstrap', '/certs/etcd') },
        encoding: 'utf8',
      });
    for (const round of [1, 2]) {
      const { status, stdout, stderr } = run();
      expect(status, `${stdout}${stderr}`).toBe(0);
      expect(stdout).toContain(`"fresh":${round === 1}`);
    }
    // Who speaks as a peer is asked for no user: the certificates of clients must not do.
    expect(await askPeerPort('etcd')).toContain('200 OK');
    expect(await askPeerPort('etcd-client-registry')).toBe('');
    expect(await askPeerPort('etcd-client-bootstrap')).toBe('');
    etcd.kill('SIGSTOP');
    expect(probe('etcd')).not.toBe(0);
    etcd.kill('SIGCONT');
    await untilHealthy('etcd');
  });

  it('starts a NATS server with the generated configuration', async () => {
    expect(probe('nats')).not.toBe(0);
    const configFolder = hostPath('nats', '/config');
    mkdirSync(configFolder, { recursive: true });
    const text = natsConf({
      host: '127.0.0.1',
      port: Number(ports['BERTH_NATS_PORT']),
      httpPort: Number(ports['BERTH_NATS_HTTP_PORT']),
      serverName: 'c1',
      certs: hostPath('nats', '/certs'),
      storeDir: hostPath('nats', '/data'),
    });
    writeFileSync(join(configFolder, 'nats.conf'), text);
    writeFileSync(join(configFolder, 'users.conf'), natsUsersConf([{ role: 'service', name: 'registry' }]));
    const args = (service('nats').container?.command?.values ?? []).map((arg) => hostPath('nats', arg));
    const nats = start('nats-server', args);
    await untilHealthy('nats');
    nats.kill('SIGSTOP');
    expect(probe('nats')).not.toBe(0);
  });

  it('gives every process a port of its own, settings that it knows, and no more rights than it needs', () => {
    const all = [...services.values()];
    expect(all.map(({ name }) => name).sort()).toEqual([
      'bootstrap',
      'etcd',
      'nats',
      'network-manager',
      'network-manager-2',
      'registry',
      'registry-2',
      'scheduler',
      'scheduler-2',
    ]);
    const exposed = all.flatMap(({ expose }) => expose.map(({ port }) => port));
    expect(new Set(exposed).size).toBe(exposed.length);
    for (const { name, container } of all) {
      expect(container?.capDrop, name).toEqual(['ALL']);
      expect(container?.readOnly, name).toBe(true);
      const writable = (container?.mounts ?? []).filter(({ readOnly }) => !readOnly).map(({ target }) => target);
      expect(writable, name).toEqual(
        ({ etcd: ['/var/lib/etcd'], nats: ['/data'] } as Record<string, string[]>)[name] ?? [],
      );
    }
  });

  it.each(['bootstrap', 'registry', 'scheduler', 'network-manager'])('sets only settings that %s has', (name) => {
    const help = spawnSync(process.execPath, [join(import.meta.dirname, `../../apps/${name}/src/main.ts`), '--help'], {
      encoding: 'utf8',
    });
    expect(help.status, help.stderr).toBe(0);
    for (const key of Object.keys(service(name).container?.environment ?? {}))
      expect(help.stdout).toContain(`${key}\n`);
  });
});
