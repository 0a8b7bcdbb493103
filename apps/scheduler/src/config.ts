import { loadConfig, port, registryAddresses, serviceSettings } from '@berth/process';
import { z } from 'zod';

const milliseconds = (): z.ZodCoercedNumber => z.coerce.number().int().min(0);

const schema = z.object({
  grpcPort: port().default(7411).describe('Port of the gRPC API (mTLS)'),
  httpPort: port().default(7413).describe('Port of /healthz, /readyz and /metrics, on 127.0.0.1'),
  registryAddresses,
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
  ...serviceSettings,
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
