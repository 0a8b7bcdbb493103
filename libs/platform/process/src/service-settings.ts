import { z } from 'zod';
import { addressList, urlList } from './config.ts';
import { logLevels } from './logger.ts';

/** A port to serve on; 0 takes any that is free. */
export function port(): z.ZodCoercedNumber {
  return z.coerce.number().int().min(0).max(65_535);
}

/** What every service of the control plane is told: where it serves, as whom, and where etcd and NATS are. */
export const serviceSettings = {
  advertise: z.string().default('127.0.0.1').describe('Address at which this process serves and is found by others'),
  certs: z
    .string()
    .default('/certs/berth')
    .describe("Folder with this service's certificate: cert.pem, key.pem, ca.pem"),
  etcdEndpoints: urlList('https').default(['https://127.0.0.1:7441']).describe('etcd endpoints, separated by commas'),
  etcdCerts: z
    .string()
    .default('/certs/etcd')
    .describe("Folder with the certificate of this service's etcd user, which has its name"),
  natsUrls: urlList('tls')
    .default(['tls://127.0.0.1:7451'])
    .describe('NATS servers (tls://host:port), separated by commas'),
  hostname: z.string().default('').describe('Host name shown in the member list'),
  version: z.string().default('0.1.0').describe('Software version, for show'),
  logLevel: z.enum(logLevels).default('info').describe('debug, info, warn or error'),
};

/** Where a service finds the registry, which lists all others. */
export const registryAddresses = addressList()
  .default(['127.0.0.1:7401'])
  .describe('Registries (host:port) to start from, separated by commas');
