import type { Clock, Logger } from '@berth/kernel';
import { Wake } from '../wake.ts';
import type { Authority, WantedCertificate } from './authority.ts';

/** Longest time between two looks: a clock that was set, a laptop that slept. */
const lookIntervalMs = 3_600_000;

/** Services that a manager runs, by the names in their certificates. */
const services = ['registry', 'scheduler', 'network-manager', 'nats', 'signer'] as const;

/** etcd users by the folder of their client certificate. */
const etcdUsers: Readonly<Record<string, string>> = {
  'etcd-client-bootstrap': 'root',
  'etcd-client-registry': 'registry',
  'etcd-client-scheduler': 'scheduler',
  'etcd-client-network-manager': 'network-manager',
};

/** All certificates of a manager's static tasks. `address` is where they serve. */
export function wantedCertificates(address: string): WantedCertificate[] {
  const addresses = [...new Set([address, '127.0.0.1'])];
  return [
    ...services.map((name) => ({
      folder: name,
      subject: { ca: 'cluster' as const, identity: { role: 'service' as const, name } },
      addresses,
    })),
    { folder: 'etcd', subject: { ca: 'etcd', commonName: 'etcd', dnsNames: ['localhost'] }, addresses },
    ...Object.entries(etcdUsers).map(([folder, commonName]) => ({
      folder,
      subject: { ca: 'etcd' as const, commonName, dnsNames: [] },
      addresses: [],
    })),
  ];
}

export interface ControlPlaneCertificatesOptions {
  readonly authority: Authority;
  readonly address: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called after a certificate was renewed while the control plane may be running; `trust` if with other CAs. */
  readonly onRenewed?: (folder: string, renewed: { readonly trust: boolean }) => void;
}

/** Keeps the static tasks' certificates valid with no registry: a control plane that was off for longer than any
 *  certificate lives starts again. Services read renewed ones from disk. */
export class ControlPlaneCertificates {
  readonly #o: ControlPlaneCertificatesOptions;
  readonly #wanted: readonly WantedCertificate[];
  readonly #wake: Wake;

  constructor(options: ControlPlaneCertificatesOptions) {
    this.#o = options;
    this.#wake = new Wake(options.clock);
    this.#wanted = wantedCertificates(options.address);
  }

  /** Issues what is missing or due. Returns when to look again, milliseconds since 1970. */
  async ensure(): Promise<number> {
    const { authority, clock, log, onRenewed } = this.#o;
    let next = Number.POSITIVE_INFINITY;
    for (const wanted of this.#wanted) {
      let dueAt = await authority.dueAtMs(wanted);
      if (dueAt <= clock.wall()) {
        const trust = await authority.issue(wanted);
        onRenewed?.(wanted.folder, { trust });
        log.info({ certificate: wanted.folder }, dueAt === 0 ? 'certificate issued' : 'certificate renewed');
        dueAt = await authority.dueAtMs(wanted);
      }
      next = Math.min(next, dueAt);
    }
    return next;
  }

  /** The CAs were moved on: all certificates are issued anew. */
  changed(): void {
    this.#wake.notify();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#o;
    while (!signal.aborted) {
      const next = await this.ensure();
      await this.#wake.wait(Math.min(Math.max(next - clock.wall(), 1_000), lookIntervalMs), signal);
    }
  }
}
