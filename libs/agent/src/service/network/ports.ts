import type { FirewallChange, FirewallState } from '../../domain/network/firewall.ts';
import type { HostLink, KernelChange, KernelState } from '../../domain/network/kernel.ts';

/** The host's packet filter, as far as this cluster's rules go; foreign ones are never seen or touched. */
export interface Firewall {
  read(): Promise<FirewallState>;
  /** The nft part in one transaction. Unavailable with reason HOST_COMMAND_FAILED. */
  apply(change: FirewallChange): Promise<void>;
}

/** The host's devices, neighbours and routes, as far as this cluster's go; foreign ones are never seen or touched. */
export interface KernelNetwork {
  /** What there is of ours, and the device that carries this host's address. */
  read(): Promise<{ readonly link: HostLink | undefined; readonly state: KernelState }>;
  /** Carries out all lines; Unavailable with reason HOST_COMMAND_FAILED if one failed. */
  apply(change: KernelChange): Promise<void>;
}

/** Where containers ask for names. */
export interface NameServer {
  readonly addresses: readonly string[];
  /** Once only; rejects while the address is not on this host. */
  listen(address: string): Promise<void>;
  close(address: string): Promise<void>;
}
