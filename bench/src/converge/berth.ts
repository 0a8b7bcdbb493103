import { join } from 'node:path';
import type { Cluster } from '@berth/e2e/cluster';
import type { Contender, Load } from './contender.ts';
import { command, image, serviceNames } from './contender.ts';

const client = join(import.meta.dirname, 'apply-client.ts');

/** Berth, asked by ApplyStack of a client that is connected already; no CLI. */
export function berth(cluster: Cluster): Contender {
  let current: ReturnType<typeof connect> | undefined;
  return {
    name: 'Berth',
    label: 'berth.stack=bench',
    nameOf: (service) => service,
    serviceOf: (labels) => labels['berth.service'] ?? '',
    async prepare(load) {
      current = connect(cluster, load);
      await current.said('ready');
    },
    async up() {
      current?.tell('up');
      await current?.said('up');
    },
    async zero() {
      current?.tell('zero');
      await current?.said('zero');
    },
    async clean() {
      current?.end();
      current = undefined;
      await cluster.berth(['down', 'bench', '--timeout', '2m']);
    },
  };
}

/** The client lives in the manager's network; it reads a word a line and says it again when it is done. */
function connect(cluster: Cluster, load: Load) {
  const child = cluster.host.spawn(
    [
      process.execPath,
      client,
      cluster.compose('bench', composeOf(load)),
      cluster.compose('bench-zero', composeOf(load, 0)),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'], env: { BERTH_CONFIG_DIR: cluster.configDir } },
  );
  const words: string[] = [];
  const waiting = new Map<string, () => void>();
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    for (const word of text.split('\n').filter(Boolean)) {
      words.push(word);
      waiting.get(word)?.();
    }
  });
  return {
    tell: (word: string) => child.stdin?.write(`${word}\n`),
    said: (word: string): Promise<void> =>
      new Promise((resolve, reject) => {
        child.once('exit', (code) => reject(new Error(`the client ended with ${code}`)));
        if (words.includes(word)) resolve();
        else waiting.set(word, resolve);
      }),
    end: () => child.stdin?.end(),
  };
}

function composeOf(load: Load, replicas = load.replicas): string {
  const services = serviceNames(load).map(
    (name) => `  ${name}:
    image: ${image}
    command: ${JSON.stringify(command)}
    stop_signal: SIGKILL
    networks: [net-${name}]
    deploy: { replicas: ${replicas} }`,
  );
  const networks = serviceNames(load).map((name) => `  net-${name}: {}`);
  return `name: bench\nservices:\n${services.join('\n')}\nnetworks:\n${networks.join('\n')}\n`;
}
