import type { RpcService } from './ports/rpc.ts';

/** A service tied to the handler that serves it; what a server of any transport takes. */
export interface BoundService {
  /** Full name, e.g. "berth.scheduler.v1.ControlService". */
  readonly name: string;
  readonly definition: unknown;
  readonly handler: unknown;
}

/** Ties a service of the contracts to its handler; the types make sure that they fit. */
export function bind<Client, Implementation>(
  service: RpcService<Client, Implementation>,
  handler: Implementation,
): BoundService {
  return { name: service.name, definition: service.definition, handler };
}
