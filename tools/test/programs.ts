import { canInstall, installPackages, missingPackages } from '../../deploy/system/debian.ts';

/** A program that must be there, and Debian's package that holds it. */
export interface Program {
  readonly program: string;
  readonly package: string;
}

/** What the tests against real parts run. */
const testPrograms: readonly Program[] = [
  { program: 'dockerd', package: 'docker.io' },
  { program: 'docker', package: 'docker.io' },
  { program: 'etcd', package: 'etcd-server' },
  { program: 'etcdctl', package: 'etcd-client' },
  { program: 'nats-server', package: 'nats-server' },
  { program: 'iptables', package: 'iptables' },
  { program: 'nft', package: 'nftables' },
  { program: 'ip', package: 'iproute2' },
  { program: 'debootstrap', package: 'debootstrap' },
  { program: 'curl', package: 'curl' },
  { program: 'tini', package: 'tini' },
  { program: 'ping', package: 'iputils-ping' },
  { program: 'sysctl', package: 'procps' },
];

/** Installs what is missing, of the tests' programs and `more`, where that can be done without asking; else returns what is
 *  missing and the remedy. */
export async function ensurePrograms(more: readonly Program[] = []): Promise<string | undefined> {
  const programs = [...testPrograms, ...more];
  const missing = await missingPackages(programs);
  if (missing.length > 0 && canInstall()) {
    console.log(`installing Debian packages: ${missing.join(' ')}`);
    await installPackages(missing);
  }
  const still = await missingPackages(programs);
  if (still.length > 0) {
    return `missing: ${still.join(' ')}. Remedy: install these (names of Debian packages), or run as root on Debian`;
  }
  return process.getuid?.() === 0 ? undefined : 'tests with network namespaces need root. Remedy: run as root';
}
