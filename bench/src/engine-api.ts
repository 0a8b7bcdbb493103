import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';

/** A Docker Engine as any program calls it, over its socket. */
export class EngineApi {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** One call; throws with the engine's message when it is refused. */
  async call<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<T> {
    const text = body && JSON.stringify(body);
    return new Promise<T>((resolve, reject) => {
      const headers = text ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } : {};
      const call = request({ socketPath: this.#socketPath, method, path: `/v1.41${path}`, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const answer = Buffer.concat(chunks).toString();
          if ((response.statusCode ?? 500) >= 400) reject(new Error(`${method} ${path}: ${answer.trim()}`));
          else resolve((answer === '' ? undefined : JSON.parse(answer)) as T);
        });
        response.on('error', reject);
      });
      call.on('error', reject);
      call.end(text);
    });
  }

  /** Calls `seen` with each event that passes the filters, until the signal aborts. Resolves when it is listening. */
  events(
    filters: Readonly<Record<string, readonly string[]>>,
    seen: (event: EngineEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const path = `/v1.41/events?filters=${encodeURIComponent(JSON.stringify(filters))}`;
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.#socketPath, path, signal }, (response) => {
        let rest = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          const lines = (rest + chunk).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines) if (line !== '') seen(JSON.parse(line) as EngineEvent);
        });
        response.on('error', () => undefined);
        resolve();
      });
      call.on('error', (error) => {
        if (!signal.aborted) reject(error);
      });
      call.end();
    });
  }
}

const removalTries = 100;
const removalRetryMs = 100;

/** Removes a network; what was on it lets go of it a moment after its container is gone. */
export async function removeNetwork(api: EngineApi, name: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await api.call('DELETE', `/networks/${name}`);
      return;
    } catch (error) {
      if (tries === removalTries) throw error;
      await sleep(removalRetryMs);
    }
  }
}

export interface EngineEvent {
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
}

/** What a path needs of filters. */
export function filters(value: Readonly<Record<string, readonly string[]>>): string {
  return `filters=${encodeURIComponent(JSON.stringify(value))}`;
}

/** Containers that carry the label, on all hosts together. `all`: also those that do not run; default false. */
export async function countContainers(hosts: readonly Host[], label: string, { all = false } = {}): Promise<number> {
  const path = `/containers/json?all=${all ? 1 : 0}&${filters({ label: [label] })}`;
  const lists = await Promise.all(hosts.map((host) => new EngineApi(host.socket).call<object[]>('GET', path)));
  return lists.flat().length;
}
