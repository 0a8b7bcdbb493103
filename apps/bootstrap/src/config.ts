import { loadConfig, logLevels, urlList } from '@berth/process';
import { z } from 'zod';

const id = z.string().regex(/^[0-9a-z]{1,32}$/u, 'must be 1 to 32 characters of [0-9a-z]');

export const schema = z.object({
  clusterId: id.describe("The cluster's id, as the first agent made it."),
  etcdEndpoints: urlList('https').describe('etcd client URLs, comma-separated: https://host:port.'),
  etcdCerts: z
    .string()
    .default('/certs/etcd')
    .describe('Folder of the certificate for etcd user root: cert.pem, key.pem, ca.pem.'),
  networkPool: z
    .string()
    .default('10.64.0.0/10')
    .describe('Address pool of application networks (CIDR); fixed at the first run.'),
  rangePrefix: z.coerce
    .number()
    .int()
    .min(8)
    .max(29)
    .default(22)
    .describe("Prefix length of a network's first range; fixed at the first run."),
  blockPrefix: z.coerce
    .number()
    .int()
    .min(8)
    .max(29)
    .default(26)
    .describe("Prefix length of a node's block; fixed at the first run."),
  tokenSha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/u, 'must be 64 hex digits')
    .describe("SHA-256 of the first join token's secret, hex; stored at the first run only."),
  waitLimitMs: z.coerce.number().int().min(1_000).default(60_000).describe('How long to wait for etcd, milliseconds.'),
  logLevel: z.enum(logLevels).default('info').describe('debug, info, warn or error.'),
});

export type Config = z.output<typeof schema>;

/** Read once. A bad value ends the process with code 2 and names the key. */
export function readConfig(): Config {
  const description =
    "Prepares a cluster's etcd: users and roles, meta/, the first join token. Safe to run at every start.";
  return loadConfig({ name: 'berth-bootstrap', description, schema });
}
