import { accessRuleOf } from '@berth/contracts';
import { allServices } from '@berth/contracts/services';
import type { BoundService, Identity, RpcService } from '@berth/kernel';
import { formatIdentity, isBerthError } from '@berth/kernel';
import { silentLogger as logger, SystemClock, SystemRng } from '@berth/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClosableDialer } from './dialer.ts';
import { createDialer } from './dialer.ts';
import type { RpcServer } from './server.ts';
import { startServer } from './server.ts';
import { TestCluster } from './test-certificates.ts';
import { memoryTls } from './tls.ts';

// Every RPC of every proto, called over mTLS by every kind of identity: the rule in the proto is what happens.
const registry: Identity = { role: 'service', name: 'registry' };
const identities: readonly Identity[] = [
  { role: 'operator', name: 'admin' },
  { role: 'reader', name: 'r' },
  { role: 'subscriber', name: 's' },
  { role: 'node', id: 'n1' },
  { role: 'service', name: 'scheduler' },
  { role: 'service', name: 'network-manager' },
  { role: 'service', name: 'signer' },
  { role: 'service', name: 'other' },
  registry,
];
type Call = (request: unknown) => Promise<unknown> | AsyncIterable<unknown>;

let server: RpcServer;
const dialers = new Map<string, ClosableDialer>();

function answering(definition: (typeof allServices)[number]): BoundService {
  const methods = Object.entries(definition.methods).map(([key, method]) => [
    key,
    method.responseStream ? async function* () {} : async () => ({}),
  ]);
  return { name: definition.fullName, definition, handler: Object.fromEntries(methods) };
}

beforeAll(async () => {
  const cluster = await TestCluster.create();
  server = await startServer({
    address: '127.0.0.1:0',
    access: { kind: 'mtls', tls: memoryTls(await cluster.certificate(registry)) },
    services: allServices.map(answering),
    logger,
  });
  for (const identity of identities) {
    const tls = memoryTls(await cluster.certificate(identity));
    dialers.set(
      formatIdentity(identity),
      createDialer({ tls, clock: new SystemClock(), rng: new SystemRng(), logger }),
    );
  }
});
afterAll(async () => {
  for (const dialer of dialers.values()) dialer.close();
  await server.stop(0);
});

async function admitted(call: Call, method: { readonly requestStream: boolean }): Promise<boolean> {
  try {
    const answer = call(method.requestStream ? (async function* () {})() : {});
    if (answer instanceof Promise) await answer;
    else for await (const _ of answer) break;
    return true;
  } catch (error) {
    if (isBerthError(error, 'PermissionDenied', 'ACCESS_DENIED')) return false;
    throw error;
  }
}

describe.each(allServices.map((definition) => [definition.fullName, definition] as const))('%s', (name, definition) => {
  const service: RpcService<Record<string, Call>, unknown> = { name, definition };
  it.each(Object.entries(definition.methods))('%s admits whom its rule names, and nobody else', async (key, method) => {
    const allow: readonly string[] = accessRuleOf(method)?.allow ?? [];
    for (const identity of identities) {
      const who = formatIdentity(identity);
      const target = { identity: registry, addresses: () => [`127.0.0.1:${server.port}`] };
      const call = dialers.get(who)?.client(service, target)[key];
      const expected = allow.includes(who) || allow.includes(identity.role);
      expect(call && (await admitted(call, method)), who).toBe(expected);
    }
  });
});
