// node tools/lab/keeper.ts OPTIONS: keeps a lab until it is told to take it down. Hosts die with the process that started
// them, so power is in its hand; a command that ends asks it over its socket. Started by main.ts, which it tells how far
// it is.
import { imageTemplate } from '@berth/deploy/images';
import { images, startCluster } from '@berth/e2e/cluster';
import type { Host, Lab } from '@berth/testing-hosts';
import { createLab } from '@berth/testing-hosts';
import type { LabRequest, LabStatus } from './keeper-socket.ts';
import { answerRequests } from './keeper-socket.ts';

export interface KeeperOptions {
  readonly name: string;
  readonly hosts: number;
  readonly ha: boolean;
  /** Hosts with engines and images alone. */
  readonly bare: boolean;
}

/** How far a keeper is. */
export type KeeperNews =
  | { readonly kind: 'progress' | 'failed'; readonly text: string }
  | { readonly kind: 'up'; readonly dir: string };

const options = JSON.parse(process.argv[2] ?? '') as KeeperOptions;
/** Who started it wants it no more: what is there goes, however far it is. */
const gaveUp = (): never => process.exit(1);
process.once('disconnect', gaveUp);
// Its guard clears what a killed keeper leaves.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, gaveUp);

try {
  const { lab, join } = await start();
  const server = await answerRequests(lab.dir, (request) => carryOut(lab, join, request));
  process.off('disconnect', gaveUp);
  process.send?.({ kind: 'up', dir: lab.dir } satisfies KeeperNews, () => process.disconnect());
  server.once('close', () => process.exit(0));

  async function carryOut(kept: Lab, joinCluster: (host: Host) => Promise<unknown>, request: LabRequest) {
    await act(kept, joinCluster, request);
    if (request.do === 'down') {
      await kept.down();
      setImmediate(() => server.close());
    }
    return statusOf(kept);
  }
} catch (error) {
  const text = error instanceof Error ? error.message : String(error);
  process.send?.({ kind: 'failed', text } satisfies KeeperNews, () => process.exit(1));
}

async function start(): Promise<{ readonly lab: Lab; readonly join: (host: Host) => Promise<unknown> }> {
  const { name, hosts, ha, bare } = options;
  const onProgress = (text: string): void => {
    process.send?.({ kind: 'progress', text } satisfies KeeperNews);
  };
  if (!bare) return startCluster({ name, hosts, ha, onProgress });
  const template = await imageTemplate(images, onProgress);
  onProgress(`starting ${hosts} host(s)`);
  return { lab: await createLab({ name, hosts, template }), join: async () => undefined };
}

function statusOf({ hosts, faults }: Lab): LabStatus {
  return { hosts: hosts.map(({ name, address, initPid }) => ({ name, address, on: initPid !== undefined })), faults };
}

async function act(lab: Lab, join: (host: Host) => Promise<unknown>, request: LabRequest): Promise<void> {
  switch (request.do) {
    case 'status':
    case 'down':
      return;
    case 'add':
      await join(await lab.addHost());
      return;
    case 'kill':
      return hostOf(lab, request.host).kill();
    case 'start':
      return hostOf(lab, request.host).start();
    case 'freeze':
      return hostOf(lab, request.host).freeze();
    case 'thaw':
      return hostOf(lab, request.host).thaw();
    case 'partition': {
      const plugged = pluggedOf(lab, request.host);
      return request.oneWay === undefined ? lab.partition(plugged) : lab.partitionOneWay(plugged, request.oneWay);
    }
    case 'heal':
      return lab.heal(pluggedOf(lab, request.host));
    case 'cut':
      return lab.cut(pluggedOf(lab, request.host), pluggedOf(lab, request.to), request);
    case 'mend':
      return lab.mend(pluggedOf(lab, request.host), pluggedOf(lab, request.to));
  }
}

function pluggedOf(lab: Lab, name: string): { readonly name: string } {
  return name === lab.client.name ? lab.client : hostOf(lab, name);
}

function hostOf(lab: Lab, name: string): Host {
  const host = lab.hosts.find((each) => each.name === name);
  if (host) return host;
  throw new Error(`no host ${name}; there are ${lab.hosts.map((each) => each.name).join(' ')}`);
}
