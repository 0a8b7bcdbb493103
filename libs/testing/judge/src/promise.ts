import { parse } from 'yaml';

/** What a service was promised, read from the file that was acknowledged, without any code of Berth. */
export interface PromisedService {
  readonly name: string;
  /** A number of tasks, or one on each eligible host. */
  readonly wanted: number | 'everywhere';
  readonly image: string;
  /** Words of the command, run together without quotes and blanks; undefined leaves it to the image. */
  readonly command: string | undefined;
  /** What the file gives a value. */
  readonly environment: Readonly<Record<string, string>>;
  readonly constraints: readonly Constraint[];
  /** It has an address of its own: a name leads to it. */
  readonly named: boolean;
}

export interface PromisedStack {
  readonly name: string;
  readonly services: readonly PromisedService[];
}

/** `node.hostname == h2` */
export interface Constraint {
  readonly equal: boolean;
  readonly hostname: string;
}

interface File {
  readonly name?: string;
  readonly services?: Readonly<Record<string, FileService>>;
}

interface FileService {
  readonly image?: string;
  readonly command?: string | readonly string[];
  readonly environment?: readonly string[] | Readonly<Record<string, string | number | boolean | null>>;
  readonly scale?: number;
  readonly network_mode?: string;
  readonly deploy?: {
    readonly mode?: string;
    readonly replicas?: number;
    readonly placement?: { readonly constraints?: readonly string[] };
  };
}

/**
 * Reads a Compose file as far as the judge understands it: services with image, command, environment, replicas or
 * `mode: global`, constraints on `node.hostname`. Throws for what it would judge wrongly.
 */
export function promiseOf(compose: string): PromisedStack {
  const file = parse(compose, { merge: true }) as File;
  if (file.name === undefined) throw new Error('the judge needs the stack’s `name:` in the file');
  const services = Object.entries(file.services ?? {}).map(([name, service]) => promisedService(name, service));
  return { name: file.name, services };
}

function promisedService(name: string, service: FileService): PromisedService {
  const { deploy = {}, network_mode: mode } = service;
  if (deploy.mode !== undefined && !['global', 'replicated'].includes(deploy.mode)) {
    throw new Error(`service ${name}: the judge knows no mode ${deploy.mode}`);
  }
  return {
    name,
    wanted: deploy.mode === 'global' ? 'everywhere' : (deploy.replicas ?? service.scale ?? 1),
    image: plain(service.image ?? ''),
    command: service.command === undefined ? undefined : runTogether(service.command),
    environment: environmentOf(service),
    constraints: (deploy.placement?.constraints ?? []).map((text) => constraintOf(name, text)),
    named: mode === undefined,
  };
}

/** A command's words without what a shell's splitting would take away, so that a string and a list can be compared. */
export function runTogether(command: string | readonly string[]): string {
  const text = typeof command === 'string' ? command : command.join(' ');
  return plain(text).replace(/["'\\\s]/gu, '');
}

function environmentOf({ environment = {} }: FileService): Record<string, string> {
  const entries = Array.isArray(environment)
    ? (environment as readonly string[]).map((line) => {
        const at = line.indexOf('=');
        return at < 0 ? ([line, undefined] as const) : ([line.slice(0, at), line.slice(at + 1)] as const);
      })
    : Object.entries(environment);
  return Object.fromEntries(
    entries.flatMap(([key, value]) => (value === undefined || value === null ? [] : [[key, plain(String(value))]])),
  );
}

/** The file's text as Compose gives it on: `$$` is `$`. Variables would be filled in by what the judge doesn't see. */
function plain(text: string): string {
  if (/(?<!\$)(?:\$\$)*\$[A-Za-z_{]/u.test(text)) throw new Error(`the judge fills in no variables: ${text}`);
  return text.replaceAll('$$', () => '$');
}

function constraintOf(service: string, text: string): Constraint {
  const match = /^\s*node\.hostname\s*(==|!=)\s*(\S+)\s*$/u.exec(text);
  if (!match) throw new Error(`service ${service}: the judge knows only constraints on node.hostname, not ${text}`);
  return { equal: match[1] === '==', hostname: match[2] ?? '' };
}

/** Hosts of `eligible` on which the service may run. */
export function hostsFor(service: PromisedService, eligible: readonly string[]): string[] {
  return eligible.filter((host) => service.constraints.every(({ equal, hostname }) => (host === hostname) === equal));
}
