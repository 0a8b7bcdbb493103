import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Cut, Plugged } from './cables.ts';
import { Cables } from './cables.ts';
import { Host } from './host.ts';
import { LabClient, network } from './lab-client.ts';
import { claimName, keepSettings } from './named-lab.ts';
import { createSwitch, plugIn } from './network-namespace.ts';
import type { OwnedDirectory } from './owned-directory.ts';
import { createOwnedDirectory } from './owned-directory.ts';
import { clientNamespace, hostsFolder, labName, removeLab } from './remove-lab.ts';
import { sweepOnce } from './sweep.ts';
import { copyImages } from './template.ts';

export const hostsMax = 59;

export interface LabOptions {
  /** How many hosts to start, h1, h2, … Default 1. */
  readonly hosts?: number;
  /** Run a Docker Engine on each. Default true. */
  readonly engine?: boolean;
  readonly dockerdArgs?: readonly string[];
  /** By which other processes find it ({@link namedLabs}); one living lab has it. Default: none. */
  readonly name?: string;
  /** A folder made by {@link saveTemplate}: the hosts' engines start with its images. */
  readonly template?: string;
}

export interface HostOptions {
  readonly name?: string;
  readonly dockerdArgs?: readonly string[];
}

/**
 * Hosts and a client on a switch: 198.18.0.0/24, host N at .(10+N), the client at .250. No namespace has a default
 * route, so no packet can leave the machine; several labs can exist side by side.
 */
export class Lab {
  readonly dir: string;
  readonly client: LabClient;
  readonly hosts: Host[] = [];
  readonly #cables: Cables;
  readonly #directory: OwnedDirectory;
  readonly #options: LabOptions;
  readonly #name: string;
  /** Hosts ever started: numbers are not given again. */
  #started = 0;

  constructor(directory: OwnedDirectory, options: LabOptions) {
    this.#directory = directory;
    this.#options = options;
    this.#name = labName(directory);
    this.dir = directory.path;
    this.#cables = new Cables(this.#lan);
    this.client = new LabClient(clientNamespace(directory));
  }

  get #lan(): string {
    return `${this.#name}-lan`;
  }

  async up(): Promise<void> {
    mkdirSync(hostsFolder(this.#directory));
    if (this.#options.name !== undefined) claimName(this.#directory, this.#options.name);
    await createSwitch(this.#lan);
    await plugIn({ lan: this.#lan, namespace: this.client.netns, port: 'client', address: this.client.address });
    await Promise.all(Array.from({ length: this.#options.hosts ?? 1 }, () => this.addHost()));
  }

  /** Starts one more host. */
  async addHost(options: HostOptions = {}): Promise<Host> {
    if (this.#started === hostsMax) throw new Error(`a lab has at most ${hostsMax} hosts`);
    this.#started += 1;
    const index = this.#started;
    const name = options.name ?? `h${index}`;
    const settings = {
      name,
      index,
      address: `${network}.${10 + index}`,
      directory: join(hostsFolder(this.#directory), name),
      lab: this.#name,
      lan: this.#lan,
      resolver: this.client.address,
      engine: this.#options.engine ?? true,
      dockerdArgs: [...(this.#options.dockerdArgs ?? []), ...(options.dockerdArgs ?? [])],
    };
    const host = new Host(settings);
    mkdirSync(host.dir, { recursive: true });
    keepSettings(settings);
    this.hosts.push(host);
    if (this.#options.template !== undefined) await copyImages(this.#options.template, host.engineData);
    await host.start();
    return host;
  }

  /** Powers a host off for good: it is no host of the lab any longer, and its disk is gone. */
  async removeHost(host: Host): Promise<void> {
    const at = this.hosts.indexOf(host);
    if (at >= 0) this.hosts.splice(at, 1);
    await host.stop();
  }

  /** The switch silently drops all frames of these; they see no loss of carrier. A power-off doesn't undo it. */
  partition(...plugged: Plugged[]): Promise<void> {
    return this.#cables.partition(plugged);
  }

  /** The same one way only: nothing arrives that it sends (`from`), or nothing that is sent to it (`to`). */
  partitionOneWay(plugged: Plugged, way: 'from' | 'to'): Promise<void> {
    return this.#cables.partition([plugged], way);
  }

  /** Ends their partitions, of either kind. */
  heal(...plugged: Plugged[]): Promise<void> {
    return this.#cables.heal(plugged);
  }

  /** The same for what goes between two only: all of it, one way, or one TCP port of the second. */
  cut(from: Plugged, to: Plugged, cut: Cut = {}): Promise<void> {
    return this.#cables.cut(from, to, cut);
  }

  /** Undoes every cut between two. */
  mend(a: Plugged, b: Plugged): Promise<void> {
    return this.#cables.mend(a, b);
  }

  /** Partitions and cuts, in words. */
  get faults(): string[] {
    return this.#cables.describe();
  }

  /** Powers all off and removes every trace. May be called again. */
  async down(): Promise<void> {
    await removeLab(this.#directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }
}

/** Starts a lab and resolves when every engine answers. Needs root, iproute2, nftables, tini, and docker.io for engines. */
export async function createLab(options: LabOptions = {}): Promise<Lab> {
  await sweepOnce();
  const lab = new Lab(createOwnedDirectory('lab'), options);
  try {
    await lab.up();
  } catch (error) {
    await lab.down();
    throw error;
  }
  return lab;
}

/** Keeps the images of a host's engine in a folder, for labs to come. Take it while the host has no container. */
export async function saveTemplate(host: Host, folder: string): Promise<void> {
  await copyImages(host.engineData, folder);
}
