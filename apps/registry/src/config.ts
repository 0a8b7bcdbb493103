import { addressList, loadConfig, port, serviceSettings } from '@berth/process';
import { z } from 'zod';

const schema = z.object({
  grpcPort: port().default(7401).describe('Port of the gRPC API (mTLS)'),
  joinPort: port().default(7402).describe('Port for hosts that join (TLS of the server only)'),
  httpPort: port().default(7403).describe('Port of /healthz, /readyz and /metrics, on 127.0.0.1'),
  signerAddresses: addressList()
    .default(['127.0.0.1:7432'])
    .describe("Signing ports of the managers' agents (host:port), separated by commas"),
  ...serviceSettings,
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
