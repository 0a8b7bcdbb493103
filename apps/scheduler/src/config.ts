import { addressList, loadConfig, logLevels, urlList } from '@berth/process';
import { z } from 'zod';

const port = (): z.ZodCoercedNumber => z.coerce.number().int().min(0).max(65_535);
const milliseconds = (): z.ZodCoercedNumber => z.coerce.number().int().min(0);

const schema = z.object({
  advertise: z.string().default('127.0.0.1').describe('Address at which this process serves and is found by others'),
  grpcPort: port().default(7411).describe('Port of the gRPC API (mTLS)'),
  httpPort: port().default(7413).describe('Port of /healthz, /readyz and /metrics, on 127.0.0.1'),
  certs: z
    .string()
    .default('/certs/berth')
    .describe("Folder with this service's certificate: cert.pem, key.pem, ca.pem"),
  etcdEndpoints: urlList('https').default(['https://127.0.0.1:7441']).describe('etcd endpoints, separated by commas'),
  etcdCerts: z.string().default('/certs/etcd').describe('Folder with the certificate of the etcd user "scheduler"'),
  natsUrls: urlList('tls')
    .default(['tls://127.0.0.1:7451'])
    .describe('NATS servers (tls://host:port), separated by commas'),
  registryAddresses: addressList()
    .default(['127.0.0.1:7401'])
    .describe('Registries (host:port) to start from, separated by commas'),
  drainDelayMs: milliseconds()
    .default(2_000)
    .describe('Milliseconds between the withdrawal of an endpoint and the stop signal'),
  taskHistoryPerSlotMax: z.coerce.number().int().min(0).max(100).default(5).describe('Ended tasks kept for each slot'),
  leaderTtlMs: z.coerce
    .number()
    .int()
    .min(1_000)
    .max(60_000)
    .default(3_000)
    .describe("Milliseconds after a leader's death until another replica may lead"),
  hostname: z.string().default('').describe('Host name shown in the member list'),
  version: z.string().default('0.1.0').describe('Software version, for show'),
  logLevel: z.enum(logLevels).default('info').describe('debug, info, warn or error'),
});

export type Config = z.output<typeof schema>;

/** Reads the configuration once; a bad value ends the process with 2, naming the key. */
export function readConfig(): Config {
  return loadConfig({
    name: 'berth-scheduler',
    description: 'Decides which tasks a Berth cluster runs and where, and tells the agents.',
    schema,
  });
}
