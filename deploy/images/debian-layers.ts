import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { canInstall, installPackages, missingPackages } from '../system/debian.ts';
import { run } from '../system/run.ts';
import { cacheDirectory, contentKey } from './cache.ts';

export type Progress = (text: string) => void;

/**
 * Layers of images made of Debian packages on this machine, for where no image registry can be reached: a minimal root
 * by debootstrap, and on it what `apt-get install` of a few packages adds or changes, seen through an overlay. Each is
 * a tar in the cache, made once.
 */
const suite = 'bookworm';
/** Count up when the recipe below changes what layers hold. */
const recipe = 1;
/** Installing packages waits for the network and for one processor in turn. */
const atOnce = 2;

const needed = [
  { program: 'debootstrap', package: 'debootstrap' },
  { program: 'unshare', package: 'util-linux' },
];

/** True where layers can be made; elsewhere base images come from a registry. */
export async function canMakeLayers(): Promise<boolean> {
  if (process.getuid?.() !== 0) return false;
  return canInstall() || (await missingPackages(needed)).length === 0;
}

/** The key of the layer of these packages, or of the minimal root when there are none. */
export function layerKey(packages: readonly string[]): string {
  return contentKey([suite, `${recipe}`, ...packages]);
}

/** The minimal root: what an image of a C or C++ program needs, and a shell. Returns the path of its tar. */
export async function rootLayer(onProgress: Progress): Promise<string> {
  const tar = layerPath('root', layerKey([]));
  if (isCached(tar)) return tar;
  await installPackages(await missingPackages(needed));
  onProgress(`base image: Debian ${suite} from packages`);
  await inWorkFolder(async (work) => {
    await inOwnMounts(work, bootstrapScript, [suite, await mirror()]);
    await packTar(join(work, 'root'), tar);
  });
  return tar;
}

/**
 * Makes, as far as the cache lacks them, the layers of several lists of packages: what these and those that they depend
 * on add to the root. Returns the paths of their tars in the lists' order.
 */
export async function packageLayers(lists: readonly (readonly string[])[], onProgress: Progress): Promise<string[]> {
  const tars = lists.map((packages) => layerPath(packages[0] ?? 'none', layerKey(packages)));
  const missing = lists.flatMap((packages, index) => {
    const tar = tars[index] ?? '';
    return isCached(tar) ? [] : [{ packages, tar }];
  });
  if (missing.length === 0) return tars;
  const root = await rootLayer(onProgress);
  await inWorkFolder(async (work) => {
    mkdirSync(join(work, 'root'));
    await run(['tar', '-xpf', root, '-C', join(work, 'root')]);
    const makeNext = async (): Promise<void> => {
      for (let next = missing.shift(); next; next = missing.shift()) {
        onProgress(`base image: ${next.packages.join(', ')}`);
        const folder = mkdtempSync(join(work, 'layer-'));
        await inOwnMounts(folder, installScript, next.packages);
        await packTar(join(folder, 'added'), next.tar);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, makeNext));
  });
  return tars;
}

// Runs in mount and PID namespaces of its own: its mounts, and what a package may start, end with it.
const bootstrapScript = `
set -eu
debootstrap --variant=minbase --include=ca-certificates "$1" root "$2"
# Nothing that a package starts at its installation belongs into an image.
printf '#!/bin/sh\\nexit 101\\n' >root/usr/sbin/policy-rc.d
chmod 755 root/usr/sbin/policy-rc.d
cat >root/etc/dpkg/dpkg.cfg.d/slim <<'SLIM'
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
force-unsafe-io
SLIM
rm -rf root/usr/share/doc/* root/usr/share/info/* root/usr/share/locale/* root/usr/share/man/*
rm -rf root/var/cache/apt/* root/var/log/*
rm -f root/etc/resolv.conf root/etc/hostname
`;

const installScript = `
set -eu
mkdir added work merged
mount -t overlay -o lowerdir=../root,upperdir=added,workdir=work overlay merged
mount -t proc proc merged/proc
mount --bind /dev merged/dev
cp /etc/resolv.conf merged/etc/resolv.conf
export DEBIAN_FRONTEND=noninteractive
chroot merged apt-get -q -y install --no-install-recommends "$@"
rm -rf merged/var/cache/apt/* merged/var/lib/apt/lists/* merged/var/log/*
rm -f merged/etc/resolv.conf
`;

async function inOwnMounts(work: string, script: string, args: readonly string[]): Promise<void> {
  const isolated = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--'];
  await run([...isolated, 'sh', '-c', script, 'sh', ...args], { cwd: work });
}

/**
 * Devices are left out, there and elsewhere (in an overlay they stand for removed files), for the engine makes its own.
 * They are never deleted before: what looks like a folder's own may be the machine's.
 */
async function packTar(folder: string, tar: string): Promise<void> {
  const draft = `${tar}.${process.pid}`;
  const devices = await run(['find', '.', '-type', 'c', '-o', '-type', 'b'], { cwd: folder });
  const exclude = ['--exclude=./dev/*', '--exclude=./proc/*', '--exclude=./sys/*', '--exclude-from=-'];
  await run(['tar', '-cf', draft, '--numeric-owner', ...exclude, '.'], { cwd: folder, stdin: devices });
  renameSync(draft, tar);
}

function layerPath(name: string, key: string): string {
  const folder = join(cacheDirectory(), 'layers');
  mkdirSync(folder, { recursive: true });
  return join(folder, `${name}-${key}.tar`);
}

/** Layers are kept by when they were last of use. */
function isCached(tar: string): boolean {
  if (!existsSync(tar)) return false;
  utimesSync(tar, new Date(), new Date());
  return true;
}

async function inWorkFolder(work: (path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(cacheDirectory(), 'work-'));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The mirror that this machine's own apt uses, so that a private one is used here too. */
async function mirror(): Promise<string> {
  const targets = await run(['apt-get', 'indextargets', '--format', '$(REPO_URI) $(CODENAME)', 'Created-By: Packages']);
  const own = targets.split('\n').find((line) => line.endsWith(` ${suite}`));
  return own?.split(' ')[0] ?? '';
}
