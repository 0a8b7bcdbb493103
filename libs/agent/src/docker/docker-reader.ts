import { BerthError } from '@berth/kernel';
import type { ContainerReader, UsageReading } from '../service/runtime-ports.ts';
import type { EngineStats } from './container-usage.ts';
import { usageOf } from './container-usage.ts';
import type { DockerCalls } from './docker-calls.ts';
import { call } from './docker-calls.ts';

/** Looks into containers of a Docker engine. */
export class DockerReader implements ContainerReader {
  readonly #calls: DockerCalls;

  constructor(calls: DockerCalls) {
    this.#calls = calls;
  }

  async details(id: string): Promise<object> {
    const info = await this.#calls.inspect(id);
    if (!info) throw new BerthError('NotFound', 'the container is gone', { reason: 'ENGINE_NOT_FOUND' });
    return { ...info, Config: { ...info.Config, Env: (info.Config.Env ?? []).map(nameOnly) } };
  }

  async usage(id: string): Promise<UsageReading> {
    // One-shot: without it the engine takes two readings, a second apart, by itself.
    const options = { stream: false, 'one-shot': true } as const;
    const stats = await call('measure a container', () => this.#calls.docker.getContainer(id).stats(options));
    return usageOf(stats as EngineStats);
  }
}

function nameOnly(variable: string): string {
  const at = variable.indexOf('=');
  return at < 0 ? variable : variable.slice(0, at);
}
