import { addressList, loadConfig, logLevels, urlList } from '@berth/process';
import { z } from 'zod';

const port = (): z.ZodCoercedNumber => z.coerce.number().int().min(0).max(65_535);

const schema = z.object({
  advertise: z.string().default('127.0.0.1').describe('Address at which this process serves and is found by others'),
  grpcPort: port().default(7401).describe('Port of the gRPC API (mTLS)'),
  joinPort: port().default(7402).describe('Port for hosts that join (TLS of the server only)'),
  httpPort: port().default(7403).describe('Port of /healthz, /readyz and /metrics, on 127.0.0.1'),
  certs: z
    .string()
    .default('/certs/berth')
    .describe("Folder with this service's certificate: cert.pem, key.pem, ca.pem"),
  etcdEndpoints: urlList('https').default(['https://127.0.0.1:7441']).describe('etcd endpoints, separated by commas'),
  etcdCerts: z.string().default('/certs/etcd').describe('Folder with the certificate of the etcd user "registry"'),
  natsUrls: urlList('tls')
    .default(['tls://127.0.0.1:7451'])
    .describe('NATS servers (tls://host:port), separated by commas'),
  signerAddresses: addressList()
    .default(['127.0.0.1:7432'])
    .describe("Signing ports of the managers' agents (host:port), separated by commas"),
  hostname: z.string().default('').describe('Host name shown in the member list'),
  version: z.string().default('0.1.0').describe('Software version, for show'),
  logLevel: z.enum(logLevels).default('info').describe('debug, info, warn or error'),
});

export type Config = z.output<typeof schema>;

/** Reads the configuration once; a bad value ends the process with 2, naming the key. */
export function readConfig(): Config {
  return loadConfig({
    name: 'berth-registry',
    description: 'Knows the nodes of a Berth cluster, what they serve, and who may speak.',
    schema,
  });
}
