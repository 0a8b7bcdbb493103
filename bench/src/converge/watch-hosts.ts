import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Host } from '@berth/testing-hosts';
import type { EngineEvent } from '../engine-api.ts';
import { EngineApi } from '../engine-api.ts';
import type { Contender, Load } from './contender.ts';

const resolveScript = join(import.meta.dirname, 'resolve.ts');
const limitMs = 180_000;

/** Seconds since `began` (monotonic ns) until all containers have started, and until every host's containers are found. */
export interface Arrival {
  readonly running: number;
  readonly named: number | undefined;
}

/** Looks at the engines of all hosts themselves, so that every contender is judged alike. */
export function watchHosts(hosts: readonly Host[], contender: Contender, load: Load) {
  const wanted = load.services * load.replicas;
  const end = new AbortController();
  const started = new Map<string, { readonly host: Host; readonly service: string; readonly at: bigint }>();
  const asked = new Map<Host, Promise<bigint>>();
  let alive = 0;
  let settle: () => void = () => undefined;
  const seen = (host: Host, event: EngineEvent): void => {
    if (event.Action === 'start') {
      alive += 1;
      const service = contender.serviceOf(event.Actor.Attributes);
      started.set(event.Actor.ID, { host, service, at: process.hrtime.bigint() });
    }
    if (event.Action === 'destroy') alive -= 1;
    settle();
  };
  const askOnce = (host: Host, container: string, service: string): void => {
    const name = contender.nameOf(service);
    if (name === undefined || asked.has(host)) return;
    const answer = resolved(host, container, name, load.replicas);
    // Awaited later; a failure counts then.
    answer.catch(() => undefined);
    asked.set(host, answer);
  };
  const until = (done: () => boolean, what: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new Error(
              `${contender.name}: not ${what} after ${limitMs / 1000} s: ${started.size} started, ${alive} alive`,
            ),
          ),
        limitMs,
      );
      settle = () => {
        if (!done()) return;
        clearTimeout(timer);
        resolve();
      };
      settle();
    });
  return {
    listening: Promise.all(
      hosts.map((host) =>
        new EngineApi(host.socket).events(
          { type: ['container'], event: ['start', 'destroy'], label: [contender.label] },
          (event) => seen(host, event),
          end.signal,
        ),
      ),
    ),
    async arrived(began: bigint): Promise<Arrival> {
      await until(() => started.size >= wanted, 'all running');
      const at = latest([...started.values()].map((each) => each.at));
      for (const [id, { host, service }] of [...started].reverse()) askOnce(host, id, service);
      const answers = await Promise.all(asked.values());
      const lastName = latest([at, ...answers]);
      return { running: seconds(at - began), named: answers.length > 0 ? seconds(lastName - began) : undefined };
    },
    async gone(began: bigint): Promise<number> {
      await until(() => alive <= 0, 'gone');
      return seconds(process.hrtime.bigint() - began);
    },
    stop: () => end.abort(),
  };
}

function latest(times: readonly bigint[]): bigint {
  // Math.max knows no bigint.
  return [...times].sort((a, b) => Number(a - b)).at(-1) ?? 0n;
}

function seconds(ns: bigint): number {
  return Number(ns) / 1e9;
}

/** Asks in the container's own network namespace, as a program in it would. */
async function resolved(host: Host, container: string, name: string, count: number): Promise<bigint> {
  const api = new EngineApi(host.socket);
  const { State } = await api.call<{ State: { Pid: number } }>('GET', `/containers/${container}/json`);
  const child = host.spawn(
    ['nsenter', `--net=/proc/${State.Pid}/ns/net`, '--', process.execPath, resolveScript, name, String(count)],
    { stdio: ['ignore', 'pipe', 'inherit'], timeout: limitMs },
  );
  const said = child.stdout ? await text(child.stdout) : '';
  if (said.trim() === '') throw new Error(`${name} did not come to have ${count} addresses on ${host.name}`);
  return BigInt(said.trim());
}
