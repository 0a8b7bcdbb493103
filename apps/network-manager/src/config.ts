import { loadConfig, port, registryAddresses, serviceSettings } from '@berth/process';
import { z } from 'zod';

const schema = z.object({
  grpcPort: port().default(7421).describe('Port of the gRPC API (mTLS)'),
  httpPort: port().default(7423).describe('Port of /healthz, /readyz and /metrics, on 127.0.0.1'),
  registryAddresses,
  ...serviceSettings,
});

export type Config = z.output<typeof schema>;

/** Reads the configuration once; a bad value ends the process with 2, naming the key. */
export function readConfig(): Config {
  return loadConfig({
    name: 'berth-network-manager',
    description: 'Gives the networks of a Berth cluster their address ranges and nodes their blocks.',
    schema,
  });
}
