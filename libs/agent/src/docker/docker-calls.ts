import type { Readable } from 'node:stream';
import type { VolumeSpec } from '@berth/contracts/workload';
import { BerthError, onAbort } from '@berth/kernel';
import type { ContainerInspectInfo, NetworkInspectInfo } from 'dockerode';
import Docker from 'dockerode';
import type { NetworkJoin } from '../domain/task-network.ts';
import type { CreateOptions } from './container-spec.ts';
import { endpointSettings } from './container-spec.ts';
import { engineMessage, isConnectionLoss, refused, statusOf, translate } from './docker-errors.ts';
import type { EngineDeadlines } from './engine-deadlines.ts';
import { engineDeadlinesMs, withDeadlines } from './engine-deadlines.ts';

/** Between stop signal and SIGKILL, of a container that was created without. */
const engineGraceSeconds = 10;

/** One event of the engine, as far as it is read. */
export interface EngineEvent {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes?: Readonly<Record<string, string>> };
}

/** Each engine call once: idempotent where the engine allows it, its errors in our table. */
export class DockerCalls {
  readonly docker: Docker;
  readonly socketPath: string;
  readonly #deadlines: EngineDeadlines;

  /** `socketPath`: the engine's Unix socket. `deadlines`: default `engineDeadlinesMs`. */
  constructor(options: { readonly socketPath: string; readonly deadlines?: EngineDeadlines }) {
    this.socketPath = options.socketPath;
    this.#deadlines = options.deadlines ?? engineDeadlinesMs;
    this.docker = withDeadlines(new Docker({ socketPath: options.socketPath }), this.#deadlines);
  }

  async imageExists(image: string): Promise<boolean> {
    return absentAs(false, `inspect image ${image}`, async () => {
      await this.docker.getImage(image).inspect();
      return true;
    });
  }

  /** FailedPrecondition with reason IMAGE_MISSING if no registry has it. */
  async pullImage(image: string, signal: AbortSignal): Promise<void> {
    try {
      const progress = (await this.docker.pull(withTag(image))) as Readable;
      const stop = () => progress.destroy(new BerthError('Cancelled', `pull of ${image} given up`));
      const settled = onAbort(signal, stop);
      try {
        await this.#followPull(image, progress);
      } finally {
        settled();
      }
    } catch (error) {
      if (error instanceof BerthError) throw error;
      if (isConnectionLoss(error)) throw translate(error, `pull ${image}`);
      throw refused(
        'IMAGE_MISSING',
        `image not on node, not in a registry: ${image} (${engineMessage(error)}). ` +
          `Remedy: docker save ${image} | berth image load, or name one in a registry that the node reaches.`,
        error,
      );
    }
  }

  #followPull(image: string, progress: Readable): Promise<void> {
    const { pullSilence } = this.#deadlines;
    const silence = setTimeout(() => {
      const message = `pull of ${image} has said nothing for ${pullSilence / 1000} s`;
      progress.destroy(new BerthError('Unavailable', message, { reason: 'ENGINE_UNAVAILABLE' }));
    }, pullSilence);
    return new Promise<void>((resolve, reject) => {
      this.docker.modem.followProgress(
        progress,
        (error) => (error ? reject(error) : resolve()),
        () => silence.refresh(),
      );
    }).finally(() => clearTimeout(silence));
  }

  async ensureVolume(name: string, spec: VolumeSpec): Promise<void> {
    await call(`create volume ${name}`, () =>
      this.docker.createVolume({
        Name: name,
        Driver: spec.driver === '' ? 'local' : spec.driver,
        DriverOpts: { ...spec.driverOpts },
        Labels: { ...spec.labels },
      }),
    );
  }

  async removeVolume(name: string): Promise<'removed' | 'absent' | 'in-use'> {
    try {
      await this.docker.getVolume(name).remove();
      return 'removed';
    } catch (error) {
      if (statusOf(error) === 404) return 'absent';
      if (statusOf(error) === 409) return 'in-use';
      throw translate(error, `remove volume ${name}`);
    }
  }

  /** If the name is taken, the container that has it is found. */
  async createContainer(
    options: CreateOptions,
  ): Promise<{ readonly id: string; readonly found: ContainerInspectInfo | undefined }> {
    try {
      return { id: (await this.docker.createContainer(options)).id, found: undefined };
    } catch (error) {
      if (statusOf(error) === 409) {
        const found = await this.inspect(options.name);
        if (found) return { id: found.Id, found };
      }
      const translated = translate(error, `create ${options.name}`);
      // A missing image or network is found only now: either way this run can't start here.
      if (translated.code !== 'NotFound' && translated.code !== 'Conflict') throw translated;
      throw refused('ENGINE_REFUSED', translated.message, error);
    }
  }

  async connect(join: NetworkJoin, containerId: string): Promise<void> {
    await call(`connect to ${join.dockerNetwork}`, () =>
      this.docker.getNetwork(join.dockerNetwork).connect({
        Container: containerId,
        EndpointConfig: endpointSettings(join),
      }),
    );
  }

  /** A running one is no error (the engine answers 304). */
  async start(id: string): Promise<void> {
    try {
      await this.docker.getContainer(id).start();
    } catch (error) {
      if (statusOf(error) !== 304) throw translate(error, 'start');
    }
  }

  /** With the signal and the timeout that the container was created with. */
  async stop(id: string): Promise<void> {
    try {
      // What the vendor's type leaves out.
      const config = (await this.inspect(id))?.Config as { readonly StopTimeout?: number } | undefined;
      const graceSeconds = config?.StopTimeout ?? engineGraceSeconds;
      const abortSignal = AbortSignal.timeout(graceSeconds * 1_000 + this.#deadlines.stopSlack);
      await this.docker.getContainer(id).stop({ abortSignal });
    } catch (error) {
      const status = statusOf(error);
      if (status !== 304 && status !== 404) throw translate(error, 'stop');
    }
  }

  async kill(id: string, signal: string): Promise<void> {
    await call(`send ${signal}`, () => this.docker.getContainer(id).kill({ signal }));
  }

  async remove(id: string): Promise<void> {
    try {
      await this.docker.getContainer(id).remove({ v: true, force: true });
    } catch (error) {
      // 409: its removal is under way already.
      if (statusOf(error) === 409) return;
      if (statusOf(error) !== 404) throw translate(error, 'remove');
    }
  }

  /** The engine starts it no more, whatever its restart policy was. */
  async startNoMore(id: string): Promise<void> {
    await call('change the restart policy', () =>
      this.docker.getContainer(id).update({ RestartPolicy: { Name: 'no' } }),
    );
  }

  async inspect(id: string): Promise<ContainerInspectInfo | undefined> {
    return absentAs(undefined, 'inspect', () => this.docker.getContainer(id).inspect());
  }

  async containerIds(labelFilter: string): Promise<readonly string[]> {
    const list = await call('list containers', () =>
      this.docker.listContainers({ all: true, filters: { label: [labelFilter] } }),
    );
    return list.map((c) => c.Id);
  }

  /** Events of these actions; `health_status` stands for all verdicts. */
  async events(labelFilter: string, actions: readonly string[]): Promise<Readable> {
    // Filtered by the engine: each run of a health check raises three events that nobody needs.
    return (await call('follow events', () =>
      this.docker.getEvents({ filters: { type: ['container'], label: [labelFilter], event: [...actions] } }),
    )) as Readable;
  }

  /** Always a stream: dockerode reads a log that is not followed whole into memory, and logs have no limit. */
  logs(id: string, query: Readonly<Record<string, unknown>>): Promise<Readable> {
    const request = {
      path: `/containers/${id}/logs?`,
      method: 'GET',
      isStream: true,
      statusCodes: { 200: true, 404: 'no such container', 500: 'server error' },
      options: query,
    };
    return call(
      'read logs',
      () =>
        new Promise<Readable>((resolve, reject) => {
          this.docker.modem.dial(request, (error: unknown, stream: unknown) => {
            if (error) reject(error);
            else resolve(stream as Readable);
          });
        }),
    );
  }

  async networks(labelFilter: string): Promise<readonly NetworkInspectInfo[]> {
    const list = await call('list networks', () => this.docker.listNetworks({ filters: { label: [labelFilter] } }));
    // Only an inspect says which containers are connected.
    const inspected = await Promise.all(
      list.map((n) =>
        absentAs(
          undefined,
          'inspect network',
          async () => (await this.docker.getNetwork(n.Id).inspect()) as NetworkInspectInfo,
        ),
      ),
    );
    return inspected.filter((n) => n !== undefined);
  }
}

/** `image` without a tag means every tag to the engine's pull: say the one that is meant. */
export function withTag(image: string): string {
  const last = image.slice(image.lastIndexOf('/') + 1);
  return last.includes(':') || image.includes('@') ? image : `${image}:latest`;
}

export async function call<T>(doing: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw translate(error, doing);
  }
}

async function absentAs<T>(absent: T, doing: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (statusOf(error) === 404) return absent;
    throw translate(error, doing);
  }
}
