import { agentRunArguments } from '@berth/workload';

export interface JoinLineOptions {
  readonly token: string;
  /** Where hosts join, `host:port`. */
  readonly addresses: readonly string[];
  /** The agent's image on the new host. */
  readonly image: string;
  /** The agent's state folder on the new host. */
  readonly stateDir: string;
  /** The new host's address; undefined: the one on its way to the cluster. */
  readonly advertise?: string;
}

/**
 * The line of shell that makes a Docker host a node. The token goes to a file of root's by a command of the shell's own: it is
 * in no process's arguments and not in what `docker inspect` shows, and the agent removes it when it has joined.
 */
export function joinLine({ token, addresses, image, stateDir, advertise }: JoinLineOptions): string {
  const file = `${stateDir}/join`;
  const environment = {
    BERTH_JOIN_ADDRESS: addresses.join(','),
    BERTH_JOIN_TOKEN_FILE: file,
    ...(advertise === undefined ? {} : { BERTH_ADVERTISE: advertise }),
  };
  const keepToken = `(umask 077 && printf '%s\\n' ${quote(token)} >${quote(file)})`;
  return [makeFolder(stateDir), keepToken, runAgent(image, stateDir, environment)].join(' && ');
}

/** The line of shell that starts the agent of a cluster's first host, which `berth cluster init` then makes a manager. */
export function agentLine(options: {
  readonly image: string;
  readonly stateDir: string;
  readonly ha?: boolean;
}): string {
  const { image, stateDir, ha } = options;
  return [makeFolder(stateDir), runAgent(image, stateDir, ha ? { BERTH_PROFILES: 'ha' } : {})].join(' && ');
}

function makeFolder(stateDir: string): string {
  return `mkdir -p -m 711 ${quote(stateDir)}`;
}

function runAgent(image: string, stateDir: string, environment: Readonly<Record<string, string>>): string {
  const agent = agentRunArguments({ dockerHost: undefined, name: 'berth-agent', stateDir, image, environment });
  return ['docker', 'run', '--detach', ...agent].map(quote).join(' ');
}

/** As a POSIX shell reads it back. */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/u.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
