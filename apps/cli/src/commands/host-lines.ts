import type { Command } from 'commander';
import { terminalOf, withSession } from '../command.ts';
import { durationMs } from '../duration.ts';
import { CliError, exitCode } from '../exit-code.ts';
import { agentLine, joinLine } from '../join-line.ts';

interface HostOptions {
  readonly image: string;
  readonly stateDir: string;
}

interface AgentOptions extends HostOptions {
  readonly ha?: boolean;
}

interface TokenOptions extends HostOptions {
  readonly ttl: string;
  readonly rotate?: boolean;
  readonly advertise?: string;
}

export const defaultStateDir = '/var/lib/berth';
const agentImage = 'berth/host-agent:dev';

const tokenHelp = `
Examples:
  berth cluster token
  ssh root@new-host "$(berth cluster token)"

The new host needs Docker and the agent's image. Without an image registry:
  docker save ${agentImage} | ssh root@new-host docker load`;

/** Commands that print what root runs on a host: on the first one, and on those that join. */
export function addHostLineCommands(cluster: Command): void {
  cluster
    .command('agent')
    .description("print the line that starts a first host's agent; root runs it there, then `berth cluster init`")
    .option('--image <reference>', "the agent's image", agentImage)
    .option('--state-dir <path>', "the agent's state folder", defaultStateDir)
    .option('--ha', 'it will run a second replica of each service of the control plane')
    .addHelpText('after', '\nExamples:\n  berth cluster agent\n  sh -c "$(berth cluster agent)"')
    .action((options: AgentOptions, command: Command) => {
      const line = agentLine(options);
      terminalOf(command).result({ line }, () => line);
    });

  cluster
    .command('token')
    .description('print the line that makes a Docker host a node of this cluster; root runs it there')
    .option('--ttl <duration>', 'how long its token is valid, 1m to 720h', '24h')
    .option('--rotate', 'end all join tokens and make one that is valid until the next rotation; nodes stay')
    .option('--image <reference>', "the agent's image on the new host", agentImage)
    .option('--state-dir <path>', "the agent's state folder on the new host", defaultStateDir)
    .option('--advertise <address>', "the new host's address (default: the one on its way to the cluster)")
    .addHelpText('after', tokenHelp)
    .action(token);
}

async function token(options: TokenOptions, command: Command): Promise<void> {
  const ttlMs = durationMs(options.ttl);
  await withSession(command, async ({ certificate, members }, terminal) => {
    const addresses = members.flatMap(({ joinAddress }) => (joinAddress === undefined ? [] : [joinAddress]));
    if (addresses.length === 0) throw new CliError(exitCode.unreachable, 'no registry says where hosts join');
    const made = options.rotate
      ? { ...(await certificate.rotateToken({})), expiresAtMs: undefined }
      : await certificate.createToken({ ttlMs });
    const line = joinLine({ ...options, token: made.token, addresses });
    terminal.result({ token: made.token, expiresAtMs: made.expiresAtMs, addresses, line }, () => line);
  });
}
