import { existsSync } from 'node:fs';

/**
 * The client of the engine's own package where there is one: a newer one elsewhere on PATH may refuse what the engine
 * can do.
 */
export function dockerClient(): string {
  return existsSync('/usr/bin/docker') ? '/usr/bin/docker' : 'docker';
}
