import { rpc } from '@berth/contracts';
import type { Member } from '@berth/contracts/registry';
import { createCsr, readCertificate, renewalAtMs, trustDigest } from '@berth/identity';
import type { BerthError, Logger } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import type { ClosableDialer } from '@berth/rpc';
import { createDialer, memoryTls } from '@berth/rpc';
import type { Context } from './context.ts';
import { Contexts } from './context.ts';
import type { Credentials } from './credentials.ts';
import { CliError, exitCode } from './exit-code.ts';

type ClientOf<S> = S extends { readonly types?: { readonly client: infer Client } } ? Client : never;

/** An open connection to a cluster, as the context's identity. */
export interface Session {
  readonly context: Context;
  readonly credentials: Credentials;
  readonly members: readonly Member[];
  readonly control: ClientOf<typeof rpc.control>;
  readonly catalog: ClientOf<typeof rpc.catalog>;
  readonly certificate: ClientOf<typeof rpc.certificate>;
  readonly network: ClientOf<typeof rpc.network>;
  readonly node: ClientOf<typeof rpc.node>;
  close(): void;
}

const logger: Logger = silentLogger;

/** A dialer with a certificate, or, without one, for Unix sockets only. */
export function dialerFor(credentials: Credentials | undefined): ClosableDialer {
  return createDialer({
    clock: new SystemClock(),
    rng: new SystemRng(),
    logger,
    ...(credentials ? { tls: memoryTls(credentials) } : {}),
  });
}

/**
 * Opens a context: asks a registry who is there, any of those the context knows, and notes those it did not know. Unreachable
 * if none answers.
 */
export async function openSession(
  name: string | undefined,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Session> {
  const contexts = new Contexts();
  if (name === undefined) {
    throw new CliError(
      exitCode.badInput,
      'there is no context: I do not know which cluster to speak to',
      'run `berth cluster init` on the first host of a cluster',
    );
  }
  const context = contexts.read(name);
  const credentials = contexts.credentials(name);
  const tls = memoryTls(credentials);
  const dialer = createDialer({ clock: new SystemClock(), rng: new SystemRng(), logger, tls });
  const service = (serviceName: string, addresses: () => readonly string[]) => ({
    identity: { role: 'service' as const, name: serviceName },
    addresses,
  });
  const registry = service('registry', () => context.registries);
  const catalog = dialer.client(rpc.catalog, registry);
  const certificate = dialer.client(rpc.certificate, registry);
  const { members, caSha256 } = await catalog.listMembers({}, options).catch((error: unknown) => {
    dialer.close();
    throw isBerthError(error, 'Unavailable') || isBerthError(error, 'DeadlineExceeded')
      ? unreachable(context, error)
      : error;
  });
  contexts.learn(context, addressesOf(members, 'registry'));
  const renewed = await renewedIfDue(credentials, caSha256, certificate);
  if (renewed) {
    contexts.renew(name, renewed);
    tls.replace({ ...credentials, ...renewed });
  }
  const schedulers = addressesOf(members, 'scheduler');
  return {
    context,
    credentials: { ...credentials, ...renewed },
    members,
    catalog,
    control: dialer.client(
      rpc.control,
      service('scheduler', () => schedulers),
    ),
    certificate,
    node: dialer.client(rpc.node, registry),
    network: dialer.client(
      rpc.network,
      service('network-manager', () => addressesOf(members, 'network-manager')),
    ),
    close: () => dialer.close(),
  };
}

function unreachable({ name, registries }: Context, cause: BerthError): CliError {
  return new CliError(
    exitCode.unreachable,
    `no registry of context ${name} answers (${registries.join(', ')}): ${cause.message}`,
    'check that the control plane runs and that this machine reaches it; `berth context ls` lists other clusters',
    { cause },
  );
}

/**
 * A new certificate for a context whose own is past half of its life, or trusts other CAs than are to be trusted now; for
 * the same key. Where the registry can't give one now, the next command tries again.
 */
async function renewedIfDue(
  { cert, key, ca }: Credentials,
  caSha256: string,
  client: Session['certificate'],
): Promise<Pick<Credentials, 'cert' | 'ca'> | undefined> {
  const due = renewalAtMs(readCertificate(cert), 0.5) <= Date.now();
  if (!due && (caSha256 === '' || caSha256 === trustDigest(ca))) return undefined;
  try {
    const { certificatePem, caPem } = await client.renewCertificate({ csr: await createCsr(key) });
    return { cert: certificatePem, ca: caPem };
  } catch (error) {
    if (isBerthError(error, 'Unavailable') || isBerthError(error, 'DeadlineExceeded')) return undefined;
    throw error;
  }
}

/** Addresses of a control-plane service's instances. */
export function addressesOf(members: readonly Member[], serviceName: string): string[] {
  return members.filter((member) => member.identity === `service:${serviceName}`).map((member) => member.address);
}
