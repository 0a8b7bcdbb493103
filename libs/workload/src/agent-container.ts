export interface AgentContainerOptions {
  /** For DOCKER_HOST; undefined: the docker client's own engine. */
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

/** Arguments of `docker run` for the agent's container, one that joins or a manager's alike. */
export function agentRunArguments(options: AgentContainerOptions): string[] {
  const socket = (options.dockerHost ?? 'unix:///var/run/docker.sock').replace('unix://', '');
  const folder = socket.slice(0, socket.lastIndexOf('/'));
  return [
    ...['--name', options.name, '--restart', 'always', '--network', 'host', '--pid', 'host'],
    ...['--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN', '--cap-add', 'NET_RAW', '--cap-add', 'NET_BIND_SERVICE'],
    ...['--cap-add', 'DAC_OVERRIDE', '--cap-add', 'CHOWN', '--cap-add', 'FOWNER'],
    // The folder, as an engine that is started again makes a new socket; without what is mounted below, which must not be
    // kept from going: containers' namespaces and roots.
    ...['--mount', `type=bind,source=${folder},target=/host/engine,readonly,bind-nonrecursive`],
    ...['--env', `BERTH_DOCKER_SOCKET=/host/engine${socket.slice(folder.length)}`],
    ...['--volume', `${options.stateDir}:${options.stateDir}`],
    // Where names outside the cluster are asked; a bind of the folder, so that a replaced file is seen.
    ...['--volume', '/etc:/host/etc:ro'],
    ...['--env', `BERTH_STATE_DIR=${options.stateDir}`],
    ...Object.entries(options.environment).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    options.image,
  ];
}
