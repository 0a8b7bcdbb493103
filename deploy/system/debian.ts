import { existsSync, readFileSync } from 'node:fs';
import { run, tryRun } from './run.ts';

/** True where missing programs can be installed without asking: Debian or a derivative, as root. */
export function canInstall(): boolean {
  return process.getuid?.() === 0 && existsSync('/usr/bin/apt-get') && isDebian(osRelease());
}

export function isDebian(release: string): boolean {
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release);
}

function osRelease(): string {
  return existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
}

export interface NeededProgram {
  /** As found on PATH. */
  readonly program: string;
  /** Debian's package that has it. */
  readonly package: string;
}

/** The packages of those programs that are not on this machine's PATH. */
export async function missingPackages(needed: readonly NeededProgram[]): Promise<string[]> {
  const found = await Promise.all(needed.map(({ program }) => isOnPath(program)));
  return [...new Set(needed.filter((_, index) => !found[index]).map((each) => each.package))];
}

async function isOnPath(program: string): Promise<boolean> {
  const { code } = await tryRun(['sh', '-c', 'command -v "$1"', 'sh', program], { env: { PATH: systemPath() } });
  return code === 0;
}

/** PATH with the folders of system programs, which a user's shell may leave out. */
export function systemPath(): string {
  return `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;
}

/** Installs packages without recommended ones: docker.io recommends, by a chain of packages, a kernel image. */
export async function installPackages(packages: readonly string[]): Promise<void> {
  if (packages.length === 0) return;
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  // Another apt may be at work: wait for it rather than fail.
  const apt = ['apt-get', '-q', '-y', '-o', 'DPkg::Lock::Timeout=300'];
  const install = [...apt, 'install', '--no-install-recommends', ...packages];
  // Package lists may be missing or old on a new machine; where they are good, the update would only cost time.
  if ((await tryRun(install, { env })).code === 0) return;
  await run([...apt, 'update'], { env });
  await run(install, { env });
}
