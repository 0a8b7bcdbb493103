import { list, loadConfig, logLevels } from '@berth/process';
import { z } from 'zod';

const port = (fallback: number) => z.coerce.number().int().min(1).max(65_535).default(fallback);

/** Everything that can be set. Ports of the control plane are those that this host's manifest is filled in with. */
export const schema = z.object({
  stateDir: z
    .string()
    .startsWith('/')
    .default('/var/lib/berth')
    .describe('Folder of the agent; in a container bound at the same path as on the host.'),
  advertise: z
    .string()
    .regex(/^(\d{1,3}(\.\d{1,3}){3})?$/u, 'must be an IPv4 address')
    .default('')
    .describe(
      'Address of this host, where it serves and others reach it; when joining: the one on the way to the cluster.',
    ),
  dockerSocket: z.string().startsWith('/').default('/var/run/docker.sock').describe("The engine's Unix socket."),
  grpcPort: port(7431).describe('Port for logs and exec, called by the scheduler.'),
  signPort: port(7432).describe('Port for signing, on a manager, called by the registry.'),
  httpPort: port(7433).describe('Port for /healthz, /readyz and /metrics, on 127.0.0.1.'),
  registryPort: port(7401).describe("Port of this manager's registry."),
  joinPort: port(7402).describe('Port at which hosts join.'),
  registryHttpPort: port(7403).describe("HTTP port of this manager's registry."),
  schedulerPort: port(7411).describe("Port of this manager's scheduler."),
  schedulerHttpPort: port(7413).describe("HTTP port of this manager's scheduler."),
  networkManagerPort: port(7421).describe("Port of this manager's network-manager."),
  networkManagerHttpPort: port(7423).describe("HTTP port of this manager's network-manager."),
  etcdPort: port(7441).describe("Client port of this manager's etcd."),
  etcdPeerPort: port(7442).describe("Peer port of this manager's etcd."),
  etcdMetricsPort: port(7443).describe("Port of etcd's /health and /metrics, on 127.0.0.1."),
  natsPort: port(7451).describe("Port of this manager's NATS."),
  vxlanPort: port(7461).describe('UDP port at which this host takes VXLAN packets of other hosts.'),
  natsHttpPort: port(7453).describe("Port of NATS's /healthz and /varz, on 127.0.0.1."),
  profiles: list()
    .refine((names) => names.every((name) => name === 'ha'), 'the only profile is ha')
    .default([])
    .describe("Profiles of the control plane's Compose file: ha runs a second replica of each service."),
  replicaPortOffset: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(100)
    .describe("What is added to a service's ports for its second replica."),
  manifest: z
    .string()
    .default(new URL('../../../deploy/compose/control-plane.yaml', import.meta.url).pathname)
    .describe('Compose file of the control plane, for a manager.'),
  imageTag: z
    .string()
    .default('dev')
    .describe("Tag of the control plane's images, unless BERTH_IMAGE_<APP> names one."),
  joinToken: z.string().default('').describe('Join token of the cluster this host is to join.'),
  joinTokenFile: z
    .string()
    .default('')
    .describe('File that holds the join token; one in the state folder is removed once the host has joined.'),
  joinAddress: list().default([]).describe('host:port of join ports, separated by commas.'),
  certificateLifetimeS: z.coerce
    .number()
    .int()
    .min(20)
    .max(90 * 86_400)
    .default(90 * 86_400)
    .describe('Lifetime of the certificates that a manager signs, in seconds; shorter ones are for tests.'),
  resolvConf: z
    .string()
    .default('/host/etc/resolv.conf')
    .describe("The host's resolver file; /etc/resolv.conf where it does not exist."),
  logLevel: z.enum(logLevels).default('info').describe('Least severe lines that are written.'),
});

export type Config = z.output<typeof schema>;

export function readConfig(): Config {
  return loadConfig({ name: 'berth-host-agent', description: 'Runs the tasks of one Docker host.', schema });
}
