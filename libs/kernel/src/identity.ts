import { BerthError } from './errors.ts';

/** Who a certificate speaks for. `local-root` and `anyone` come from the kind of port, not from a certificate. */
export type Identity =
  | { readonly role: 'service'; readonly name: string }
  | { readonly role: 'node'; readonly id: string }
  | { readonly role: 'operator' | 'reader' | 'subscriber'; readonly name: string }
  | { readonly role: 'local-root' }
  | { readonly role: 'anyone' };

/** `service:scheduler`, `node:<id>`, `operator:<name>`, `local-root`, … The subject CN of the identity's certificate. */
export function formatIdentity(identity: Identity): string {
  switch (identity.role) {
    case 'service':
    case 'operator':
    case 'reader':
    case 'subscriber':
      return `${identity.role}:${identity.name}`;
    case 'node':
      return `node:${identity.id}`;
    default:
      return identity.role;
  }
}

/** Reads `formatIdentity`'s form. Throws InvalidArgument. */
export function parseIdentity(text: string): Identity {
  const match = /^(service|node|operator|reader|subscriber):([a-z0-9][a-z0-9-]{0,62})$/u.exec(text);
  const [, role, name] = match ?? [];
  if (role === undefined || name === undefined) {
    throw new BerthError('InvalidArgument', `not an identity: ${JSON.stringify(text)}`, { reason: 'BAD_IDENTITY' });
  }
  switch (role) {
    case 'node':
      return { role, id: name };
    case 'service':
    case 'operator':
    case 'reader':
    case 'subscriber':
      return { role, name };
    default:
      throw new BerthError('InvalidArgument', `not an identity: ${text}`, { reason: 'BAD_IDENTITY' });
  }
}

/** The DNS name that stands for an identity in its certificate: `scheduler.service.berth`, `<id>.node.berth`. Clients
 *  verify a server by it, whatever its address; NATS maps it to a user. */
export function dnsNameOf(identity: Identity): string {
  switch (identity.role) {
    case 'local-root':
    case 'anyone':
      throw new BerthError('InvalidArgument', `${identity.role} has no certificate`, { reason: 'BAD_IDENTITY' });
    case 'node':
      return `${identity.id}.node.berth`;
    default:
      return `${identity.name}.${identity.role}.berth`;
  }
}

/** Does an access rule (the `allow` list of an RPC's option) admit an identity? No rule admits nobody. */
export function admits(allow: readonly string[], identity: Identity): boolean {
  return allow.some((entry) => entry === identity.role || entry === formatIdentity(identity));
}
