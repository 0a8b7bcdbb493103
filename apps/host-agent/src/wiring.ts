import { join } from 'node:path';
import { SetupHandler } from '@berth/agent';
import { rpc } from '@berth/contracts';
import type { Logger } from '@berth/kernel';
import type { Running } from '@berth/process';
import { startHttp } from '@berth/process';
import { bind } from '@berth/rpc';
import { AgentLife } from './agent-life.ts';
import { Base } from './base.ts';
import type { Config } from './config.ts';
import { hostRoutes } from './host-facts.ts';
import { LocalAuthority } from './local-authority.ts';
import { takeAway } from './take-away.ts';
import { softwareVersion } from './version.ts';

/** Time that unary calls get to end when the process stops. */
const graceMs = 2_000;

/** Puts the agent together: the local socket at once, the rest as soon as the host knows what it is. */
export async function start(config: Config, log: Logger, stopping: AbortSignal): Promise<Running> {
  const abort = new AbortController();
  const base = new Base(config, log, AbortSignal.any([abort.signal, stopping]));
  const { files, board, disk, clock, rng, members, lives } = base;
  await members.load();

  const http = await startHttp({
    address: `127.0.0.1:${config.httpPort}`,
    ready: () => board.phase === 'ready' || `phase ${board.phase}${board.note === '' ? '' : `: ${board.note}`}`,
    registry: base.metrics,
    logger: log,
  });

  // What root on this host may ask, also before there is a cluster.
  const authority = new LocalAuthority({ disk, clock, rng, lifetimeMs: config.certificateLifetimeS * 1_000 });
  const life = new AgentLife(base, authority);
  const setup = new SetupHandler({
    ...base.ports,
    files,
    authority,
    board,
    routes: hostRoutes,
    begin: (cluster) => life.begin({ cluster }),
    onSigned: (identity) => life.signed(identity),
    staticTasks: () => life.staticStates(),
    registries: () => life.registries(),
    advertise: config.advertise,
    version: softwareVersion,
  });
  await base.serve(join(config.stateDir, 'agent.sock'), { kind: 'unix' }, [bind(rpc.setup, setup)]);

  let left = false;
  void life.left.then(() => {
    left = true;
  });

  // What this host is already, or is told to become.
  const [cluster, node] = await Promise.all([files.cluster(), files.node()]);
  if (cluster || node || config.joinToken !== '' || config.joinTokenFile !== '') life.begin({ cluster, node });

  return {
    done: Promise.race([lives.done, life.left]),
    stop: async () => {
      if (base.board.phase !== 'leaving') await life.farewell();
      abort.abort();
      await base.stopServers(graceMs);
      await lives.ended();
      life.close();
      await http.close();
      if (left) await takeAway({ stateDir: config.stateDir, files, calls: base.calls, log });
    },
  };
}
