import type { LoadStackOptions, LoadStackResult } from '../index.ts';
import { loadStack } from '../index.ts';

type Success = Extract<LoadStackResult, { ok: true }>;

/** Loads one file, or several, with the rest of the options as a test needs them. */
export function load(text: string | readonly string[], options: Partial<LoadStackOptions> = {}): LoadStackResult {
  const texts = typeof text === 'string' ? [text] : text;
  const files = texts.map((each, index) => ({ path: index === 0 ? 'compose.yaml' : `over-${index}.yaml`, text: each }));
  return loadStack({ files, env: {}, workingDir: '/srv/shop', ...options });
}

/** Loads what must be good. */
export function loadGood(text: string | readonly string[], options: Partial<LoadStackOptions> = {}): Success {
  const result = load(text, options);
  if (!result.ok) throw new Error(JSON.stringify(result.problems, undefined, 2));
  return result;
}

/** Loads a good file and gives one service's spec. */
export function serviceOf(text: string | readonly string[], name = 'web', options: Partial<LoadStackOptions> = {}) {
  const service = loadGood(text, options).spec.services.find((candidate) => candidate.name === name);
  if (service?.container === undefined) throw new Error(`no service ${name}`);
  return { ...service, container: service.container };
}
