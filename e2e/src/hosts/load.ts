import type { Host } from '@berth/testing-hosts';

export interface LoadOptions {
  /** Its host name is looked up anew for each connection. */
  readonly url: string;
  readonly perSecond: number;
}

/** Its running container on each host makes its part of the load; of an image with Node. */
export interface Clients {
  readonly hosts: readonly Host[];
  readonly stack: string;
  readonly service: string;
}

export interface LoadResult {
  readonly count: number;
  readonly slowestMs: number;
  /** What went wrong with each that failed, and when. */
  readonly failures: readonly string[];
}

export interface Load {
  /** Resolves when this many were answered. */
  answered(count: number): Promise<void>;
  stop(): Promise<LoadResult>;
}

const timeoutMs = 2_000;

/**
 * Opens new connections from inside a container (of an image with Node) at a fixed rate: one look-up through libc, one of
 * its addresses by chance, one request, within 2 s in all, and no second try.
 */
export function startLoad(host: Host, container: string, { url, perSecond }: LoadOptions): Load {
  const { hostname, port, pathname } = new URL(url);
  const script = `
    const { lookup } = require('node:dns').promises; const { get } = require('node:http');
    let count = 0, slowestMs = 0, lookups = 0; const failures = []; const under = new Set();
    const request = (host) => new Promise((resolve, reject) => {
      const call = get({ host, port: ${port || 80}, path: ${JSON.stringify(pathname)}, agent: false }, (answer) => {
        answer.on('error', reject).on('end', () => answer.statusCode === 200 ? resolve() : reject(new Error('status ' + answer.statusCode))).resume();
      });
      call.on('error', reject); call.setTimeout(${timeoutMs}, () => call.destroy(new Error('silent')));
    });
    const one = async () => {
      const at = performance.now(); let step = 'look-up', to = '';
      const late = new Promise((_, reject) => setTimeout(() => reject(new Error('late')), ${timeoutMs}).unref());
      const work = (async () => {
        const found = await lookup(${JSON.stringify(hostname)}, { all: true, family: 4 });
        to = found[Math.floor(Math.random() * found.length)].address; step = 'request to ' + to;
        await request(to);
      })();
      try { await Promise.race([work, late]); }
      catch (error) { work.catch(() => undefined); failures.push(new Date().toISOString() + ' ' + step + ': ' + (error.code ?? error.message) + ' after ' + Math.round(performance.now() - at) + ' ms'); }
      count++; slowestMs = Math.max(slowestMs, Math.round(performance.now() - at));
      if (count % 10 === 0) console.log(JSON.stringify({ count }));
    };
    const timer = setInterval(() => { const each = one().finally(() => under.delete(each)); under.add(each); }, ${1000 / perSecond});
    process.stdin.on('end', async () => { clearInterval(timer); await Promise.all(under);
      console.log(JSON.stringify({ count, slowestMs, failures })); process.exit(0); }).resume();`;
  const child = host.spawn(
    ['docker', 'exec', '--interactive', '--env', 'UV_THREADPOOL_SIZE=32', container, 'node', '-e', script],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  let out = '';
  const waiting = new Map<() => void, number>();
  const lastLine = (): { count: number } =>
    JSON.parse(out.trim().split('\n').at(-1) || '{"count":0}') as { count: number };
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    out += part;
    if (!out.endsWith('\n')) return;
    for (const [resolve, count] of waiting) if (lastLine().count >= count) resolve();
  });
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  child.on('close', () => end());
  return {
    answered: (count) =>
      Promise.race([
        new Promise<void>((resolve) => waiting.set(resolve, count)),
        ended.then(() => {
          throw new Error(`the load from ${host.name} ended by itself`);
        }),
      ]),
    async stop() {
      child.stdin?.end();
      await ended;
      return lastLine() as LoadResult;
    },
  };
}

/** The same from a service's containers on several hosts, together at that rate; resolves when each was answered 20 times. */
export async function startLoads(clients: Clients, { url, perSecond }: LoadOptions): Promise<Pick<Load, 'stop'>> {
  const { hosts, stack, service } = clients;
  const filters = ['--filter', `label=berth.stack=${stack}`, '--filter', `label=berth.service=${service}`];
  const loads = await Promise.all(
    hosts.map(async (host) => {
      const container = (await host.docker(['ps', '--quiet', ...filters])).trim();
      return startLoad(host, container, { url, perSecond: perSecond / hosts.length });
    }),
  );
  await Promise.all(loads.map((load) => load.answered(20)));
  return {
    async stop() {
      const results = await Promise.all(loads.map((load) => load.stop()));
      return {
        count: results.reduce((sum, { count }) => sum + count, 0),
        slowestMs: Math.max(...results.map(({ slowestMs }) => slowestMs)),
        failures: results.flatMap(({ failures }) => failures),
      };
    },
  };
}
