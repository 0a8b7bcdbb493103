import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { berth } from './observation.ts';
import type { EngineEvent } from './rules/order.ts';

interface Message {
  readonly Action: string;
  readonly timeNano: number;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
}

const retryMs = 100;

/** Follows starts and ends of Berth's application containers on one host, over restarts of its engine too. */
export class EngineEvents {
  readonly events: EngineEvent[] = [];
  readonly #host: Host;
  readonly #end = new AbortController();
  #cursor: string;
  #done: Promise<void> = Promise.resolve();

  constructor(host: Host) {
    this.#host = host;
    this.#cursor = nanosText(BigInt(Date.now()) * 1_000_000n);
  }

  /** Resolves when the engine sends, or at once where the host is off. */
  async start(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#done = this.#follow(resolve);
    if (this.#host.initPid === undefined) resolve();
    await promise;
  }

  async end(): Promise<readonly EngineEvent[]> {
    // What the engine is just writing.
    await sleep(retryMs);
    this.#end.abort();
    await this.#done;
    return this.events;
  }

  async #follow(opened: () => void): Promise<void> {
    while (!this.#end.signal.aborted) {
      await this.#stream(opened);
      await sleep(retryMs, undefined, { signal: this.#end.signal }).catch(() => undefined);
    }
  }

  /** One connection, to its end; errors end it too: the engine may be off or just starting. */
  #stream(opened: () => void): Promise<void> {
    const filters = encodeURIComponent(JSON.stringify({ type: ['container'], event: ['start', 'die'] }));
    const path = `/events?since=${this.#cursor}&filters=${filters}`;
    return new Promise((resolve) => {
      const call = request({ socketPath: this.#host.socket, path, signal: this.#end.signal }, (response) => {
        opened();
        let rest = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          const lines = (rest + text).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines) this.#take(line);
        });
        response.on('error', () => undefined);
        response.on('close', resolve);
      });
      call.on('error', () => resolve());
      call.end();
    });
  }

  #take(line: string): void {
    if (line.trim() === '') return;
    const event = parseEvent(line);
    if (event === undefined) return;
    this.#cursor = nanosText(event.at + 1n);
    if (event.task !== '') this.events.push(event);
  }
}

/** One line of `GET /events`; undefined for what is no start or end. A task of '' is not Berth's, or static. */
export function parseEvent(line: string): EngineEvent | undefined {
  const { Action: action, Actor } = JSON.parse(line) as Message;
  if (action !== 'start' && action !== 'die') return undefined;
  const { [berth.task]: task = '', [berth.static]: isStatic } = Actor.Attributes;
  // Nanoseconds since 1970 need more digits than a number has: they are read from the text.
  const at = BigInt(/"timeNano":(\d+)/u.exec(line)?.[1] ?? '0');
  return { action, container: Actor.ID, task: isStatic === 'true' ? '' : task, at };
}

/** Seconds with nine digits after the dot, as the engine takes them. */
function nanosText(nanos: bigint): string {
  return `${nanos / 1_000_000_000n}.${String(nanos % 1_000_000_000n).padStart(9, '0')}`;
}
