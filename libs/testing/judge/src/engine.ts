import { Agent, request } from 'node:http';
import type { ContainerView } from './observation.ts';
import { berth } from './observation.ts';

const callTimeoutMs = 5_000;

/** Asks an engine by its socket and parses the answer. Rejects when it doesn't answer within 5 s or answers an error. */
export function askEngine<T>(socketPath: string, path: string, agent?: Agent): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, agent, timeout: callTimeoutMs }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(text) as T);
        else reject(new EngineError(`${path} answers ${response.statusCode}: ${text.trim()}`, response.statusCode));
      });
    });
    call.on('timeout', () => call.destroy(new Error(`${path}: no answer within ${callTimeoutMs} ms`)));
    call.on('error', reject);
    call.end();
  });
}

class EngineError extends Error {
  readonly status: number | undefined;

  constructor(message: string, status: number | undefined) {
    super(message);
    this.status = status;
  }
}

/** The fields of `GET /containers/<id>/json` that are looked at. */
export interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly RestartCount: number;
  readonly Path: string;
  readonly Args: readonly string[];
  readonly State: {
    readonly Running: boolean;
    readonly Paused: boolean;
    readonly StartedAt: string;
    readonly Health?: { readonly Status: string };
  };
  readonly Config: {
    readonly Hostname: string;
    readonly Image: string;
    readonly Cmd: readonly string[] | null;
    readonly Env: readonly string[] | null;
    readonly Labels: Readonly<Record<string, string>> | null;
  };
  readonly NetworkSettings: {
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>> | null;
  };
}

interface Join {
  readonly networkId: string;
  readonly dockerNetwork: string;
  readonly ip: string;
}

/** All containers of an engine, running or not. */
export async function containersOf(host: string, socketPath: string): Promise<ContainerView[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  try {
    const list = await askEngine<{ Id: string }[]>(socketPath, '/containers/json?all=true', agent);
    const views = await Promise.all(
      list.map(async ({ Id }) => {
        try {
          return viewOf(host, await askEngine<Inspected>(socketPath, `/containers/${Id}/json`, agent));
        } catch (error) {
          // Removed meanwhile.
          if (error instanceof EngineError && error.status === 404) return undefined;
          throw error;
        }
      }),
    );
    return views.filter((view) => view !== undefined);
  } finally {
    agent.destroy();
  }
}

export function viewOf(host: string, inspected: Inspected): ContainerView {
  const { Config, State } = inspected;
  const labels = Config.Labels ?? {};
  const networks = inspected.NetworkSettings.Networks ?? {};
  const joins = JSON.parse(labels[berth.joins] ?? '[]') as readonly Join[];
  return {
    id: inspected.Id,
    name: inspected.Name.replace(/^\//u, ''),
    host,
    hostname: Config.Hostname,
    labels,
    image: Config.Image,
    command: Config.Cmd ?? [],
    environment: Object.fromEntries(
      (Config.Env ?? []).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    ),
    running: State.Running && !State.Paused,
    health: State.Health && State.Health.Status !== 'none' ? State.Health.Status : undefined,
    startedAt: State.StartedAt,
    restarts: inspected.RestartCount,
    // The engine's own word for the address where it has one; of a shared namespace it has none.
    addresses: joins.map(({ networkId, dockerNetwork, ip }) => ({
      network: networkId,
      ip: networks[dockerNetwork]?.IPAddress || ip,
    })),
  };
}
