import type { ClusterState } from '@berth/agent';
import { DockerCalls, engineFacts, MemberDirectory, PhaseBoard, StateFiles } from '@berth/agent';
import type { Node } from '@berth/contracts/registry';
import { Node as Nodes } from '@berth/contracts/registry';
import { trustDigest } from '@berth/identity';
import type { Logger } from '@berth/kernel';
import type { Registry } from '@berth/process';
import { createMetrics, FileDisk, rpcMetrics, SystemClock, SystemRng } from '@berth/process';
import type { BoundService, RpcServer, ServerAccess } from '@berth/rpc';
import { startServer } from '@berth/rpc';
import type { Config } from './config.ts';
import { Lives } from './lives.ts';
import { softwareVersion } from './version.ts';

/** What all stages of the agent share. */
export class Base {
  readonly clock = new SystemClock();
  readonly rng = new SystemRng();
  readonly lives = new Lives();
  readonly board = new PhaseBoard();
  readonly metrics: Registry = createMetrics('host-agent');
  readonly disk: FileDisk;
  readonly files: StateFiles;
  readonly members: MemberDirectory;
  readonly calls: DockerCalls;
  readonly config: Config;
  readonly log: Logger;
  /** Aborts when the agent stops. */
  readonly signal: AbortSignal;
  readonly #observer = rpcMetrics(this.metrics);
  readonly #servers: RpcServer[] = [];

  constructor(config: Config, log: Logger, signal: AbortSignal) {
    this.config = config;
    this.log = log;
    this.signal = signal;
    this.disk = new FileDisk(config.stateDir);
    this.files = new StateFiles(this.disk);
    this.members = new MemberDirectory({ disk: this.disk, log });
    this.calls = new DockerCalls({ socketPath: config.dockerSocket });
  }

  /** Clock, randomness and log, as most parts take them. */
  get ports() {
    return { clock: this.clock, rng: this.rng, log: this.log };
  }

  async serve(address: string, access: ServerAccess, services: readonly BoundService[]): Promise<void> {
    this.#servers.push(await startServer({ address, access, services, logger: this.log, observer: this.#observer }));
  }

  async stopServers(graceMs: number): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop(graceMs)));
  }

  /** This host, as the registry is to know it. */
  async describe(address: string, cluster: ClusterState | undefined): Promise<Node> {
    const facts = await engineFacts(this.calls);
    return Nodes.fromPartial({
      hostname: facts.hostname,
      address,
      agentPort: this.config.grpcPort,
      resources: { cpuMillis: facts.cpuMillis, memoryBytes: facts.memoryBytes },
      labels: cluster?.labels ?? {},
      engineLabels: facts.engineLabels,
      manager: cluster !== undefined,
      os: facts.os,
      architecture: facts.architecture,
      engineVersion: facts.engineVersion,
      version: softwareVersion,
      trustedCaSha256: await this.#trusted(),
    });
  }

  /** Digest of the CAs that this node trusts; empty before it has joined. */
  async #trusted(): Promise<string> {
    const ca = await this.disk.read('certs/node/ca.pem');
    return ca === undefined ? '' : trustDigest(new TextDecoder().decode(ca));
  }
}
