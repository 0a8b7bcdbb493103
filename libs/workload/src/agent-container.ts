export interface AgentContainerOptions {
  /** For DOCKER_HOST, `unix://` and a socket that is no symbolic link; undefined: the docker client's own engine. */
  readonly dockerHost: string | undefined;
  /** Container's name. */
  readonly name: string;
  /** State of the agent and of the control plane; the same path inside and outside. */
  readonly stateDir: string;
  /** Image of the agent, by its content. */
  readonly image: string;
  /** Its configuration (apps/host-agent/README.md) by variable, besides the state folder. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Where the folder of the engine's socket is in the agent's container. */
const engineFolder = '/host/engine';

/** Arguments of `docker run` for the agent's container, one that joins or a manager's alike. */
export function agentRunArguments(options: AgentContainerOptions): string[] {
  const socket = (options.dockerHost ?? 'unix:///var/run/docker.sock').replace('unix://', '');
  const cut = socket.lastIndexOf('/');
  const [folder, file] = [socket.slice(0, cut) || '/', socket.slice(cut + 1)];
  return [
    ...['--name', options.name, '--restart', 'always', '--network', 'host', '--pid', 'host'],
    ...['--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN', '--cap-add', 'NET_RAW', '--cap-add', 'NET_BIND_SERVICE'],
    ...['--cap-add', 'DAC_OVERRIDE', '--cap-add', 'CHOWN', '--cap-add', 'FOWNER'],
    // The folder, for an engine that is started anew makes a new socket; without what is mounted below it (containers'
    // namespaces, users' folders), which the agent would keep mounted. ADR 0190.
    ...['--mount', `type=bind,source=${folder},target=${engineFolder},readonly,bind-nonrecursive`],
    ...['--env', `BERTH_DOCKER_SOCKET=${engineFolder}/${file}`],
    ...['--volume', `${options.stateDir}:${options.stateDir}`],
    // Where names outside the cluster are asked; a bind of the folder, so that a replaced file is seen.
    ...['--volume', '/etc:/host/etc:ro'],
    ...['--env', `BERTH_STATE_DIR=${options.stateDir}`],
    ...Object.entries(options.environment).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    options.image,
  ];
}
