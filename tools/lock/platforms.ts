/** What a lock file says of one package; only what is read or written here. */
export interface LockedPackage {
  readonly version?: string;
  readonly cpu?: readonly string[];
  readonly os?: readonly string[];
  readonly libc?: readonly string[];
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

export type LockedPackages = Readonly<Record<string, LockedPackage>>;

const systems = new Set(['android', 'darwin', 'freebsd', 'linux', 'win32']);
const processors = new Map([
  ['arm64', 'arm64'],
  ['aarch64', 'arm64'],
  ['arm', 'arm'],
  ['armv7', 'arm'],
  ['x64', 'x64'],
]);

/**
 * Entries for the platform binaries that a lock file leaves out, as it does when the registry at hand doesn't serve them:
 * `npm ci` refuses such a lock file, on every machine. System and processor are read from the package's name.
 */
export function missingPlatforms(packages: LockedPackages): Record<string, LockedPackage> {
  const named = new Set(Object.keys(packages).map((path) => path.slice(path.lastIndexOf('node_modules/') + 13)));
  const wanted = Object.values(packages).flatMap(({ optionalDependencies = {} }) =>
    Object.entries(optionalDependencies),
  );
  return Object.fromEntries(
    wanted
      .filter(([name]) => !named.has(name))
      .map(([name, version]) => [`node_modules/${name}`, platformPackage(name, version)]),
  );
}

function platformPackage(name: string, version: string): LockedPackage {
  const words = name.slice(name.indexOf('/') + 1).split('-');
  const os = words.find((word) => systems.has(word));
  const cpu = words.map((word) => processors.get(word)).find((word) => word !== undefined);
  if (os === undefined || cpu === undefined) throw new Error(`${name}: no platform can be read from its name`);
  const libc = words.includes('musl') ? { libc: ['musl'] } : {};
  return { version, cpu: [cpu], dev: true, ...libc, optional: true, os: [os] };
}
