import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { ExecResult, Host, Lab } from '@berth/testing-hosts';

const checkout = resolve(import.meta.dirname, '../..');

// The machine's /var/lib and control groups give way to the host's own; what is mounted is seen by this host alone.
const isolation = `
set -eu
dir=$1 group=$2
mkdir -p "$dir/var-lib" "$dir/trees"
mount --bind "$dir/var-lib" /var/lib
mount -t tmpfs -o mode=755 trees "$dir/trees"
# Or taking a mount away would take its copies away.
mount --make-private "$dir/trees"
for tree in $(ls /sys/fs/cgroup); do
  [ -d "/sys/fs/cgroup/$tree" ] || continue
  at=/sys/fs/cgroup/$tree
  for part in $(echo "$group" | tr / ' '); do
    # A new group of this controller has no processor until it is given one.
    cpus=$(cat "$at/cpuset.cpus" 2>/dev/null || true) mems=$(cat "$at/cpuset.mems" 2>/dev/null || true)
    at=$at/$part
    mkdir -p "$at"
    if [ -n "$cpus" ]; then echo "$cpus" >"$at/cpuset.cpus"; echo "$mems" >"$at/cpuset.mems"; fi
  done
  mkdir "$dir/trees/$tree"
  mount --bind "$at" "$dir/trees/$tree"
  mount --make-private "$dir/trees/$tree"
done
# The host's /sys lies on the machine's: both trees must go, for an engine takes the first that it finds.
umount -R -l /sys
umount -R -l /sys/fs/cgroup
mount -t sysfs sysfs /sys
mount --rbind "$dir/trees" /sys/fs/cgroup
umount -R -l "$dir/trees"
`;

/** A user's machine: a host on which nothing that `npm start` writes reaches the machine that runs the test. */
export class OwnMachine {
  readonly host: Host;
  readonly #home: string;

  private constructor(host: Host) {
    this.host = host;
    this.#home = join(host.dir, 'home');
    mkdirSync(join(this.#home, '.config'), { recursive: true });
  }

  static async of(lab: Lab): Promise<OwnMachine> {
    const [host] = lab.hosts;
    if (!host) throw new Error('the lab has no host');
    const machine = new OwnMachine(host);
    await host.exec(['sh', '-c', isolation, 'sh', host.dir, `berth-${basename(lab.dir)}/${host.name}`]);
    return machine;
  }

  /** Runs a program as the machine's user would, in the checkout; throws when it fails. */
  async run(...argv: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.tryRun(...argv);
    if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}:\n${stderr.slice(-8_000)}${stdout}`);
    return stdout;
  }

  async tryRun(...argv: readonly string[]): Promise<ExecResult> {
    // The engine is the one that a docker client finds by itself; downloads are the machine's, the host has no way out.
    const cache =
      process.env['BERTH_CACHE_DIR'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'berth');
    const env = {
      HOME: this.#home,
      XDG_CONFIG_HOME: join(this.#home, '.config'),
      BERTH_CACHE_DIR: cache,
      // Labs on it are its own: who owns one is told by pids, which other machines don't know.
      BERTH_TEST_DIR: join(this.host.dir, 'labs'),
      NO_COLOR: '1',
    };
    return this.host.tryExec(['env', '--unset=DOCKER_HOST', '--unset=BERTH_CONFIG_DIR', ...argv], {
      env,
      cwd: checkout,
    });
  }

  shell(script: string): Promise<string> {
    return this.run('sh', '-c', script);
  }

  /** Everything on the machine that `npm start` could change and `npm stop` must change back, by what it is. */
  state(): Promise<Record<string, string>> {
    return stateOf((script) => this.shell(script), everything);
  }
}

export type Look = keyof typeof looks;

/** What there is on a machine whose shell this is: all that these look at, and its processes. */
export async function stateOf(
  shell: (script: string) => Promise<string>,
  names: readonly Look[],
): Promise<Record<string, string>> {
  const processes = async () =>
    new Set((await shell('ps -eo pid=,args=')).split('\n').filter((line) => !line.endsWith('<defunct>')));
  const first = await processes();
  const seen: [string, string][] = [];
  for (const name of names) seen.push([name, await shell(looks[name])]);
  // Those that were there all the while: a program that does its work and ends is in no state of the machine.
  const lasting = [...(await processes()).intersection(first)].map((line) => line.trim().replace(/^\d+ /u, ''));
  return { ...Object.fromEntries(seen), processes: lasting.sort().join('\n') };
}

const docker = (list: string): string => `timeout 10 docker version >/dev/null 2>&1 && { ${list}; } || echo no engine`;
const counters = 'random|entropy|nr_|_count|dentry|inode|file-nr|pty|ns_last_pid|nf_log|perf_|fs.quota|dirty|bpf';

const looks = {
  containers: docker("docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.Image}}' | sort"),
  starts: docker(
    "docker ps -aq | xargs -r docker inspect --format '{{.Id}} {{.State.StartedAt}} {{.RestartCount}}' | sort",
  ),
  engineNetworks: docker("docker network ls --no-trunc --format '{{.ID}} {{.Name}}' | sort"),
  volumes: docker("docker volume ls --format '{{.Name}}' | sort"),
  // Those of Berth may be there before, to save the test their making.
  images: docker(
    "docker image ls --format '{{.Repository}}:{{.Tag}}' | grep -vE '^(berth/|redis:|busybox:|<none>)' | sort",
  ),
  devices: "ip -o link | sed 's/^[0-9]*: //' | sort",
  addresses: "ip -o addr | sed 's/^[0-9]*: //' | sort",
  routes: 'ip route show table all',
  rules: 'ip rule',
  nftables: 'nft --stateless list ruleset',
  iptables: "for p in iptables ip6tables; do $p-save | grep -v '^#' | sed 's/\\[[0-9:]*\\]//'; done",
  sysctls: `sysctl -a 2>/dev/null | grep -vE '${counters}'`,
  // Namespaces of other labs come and go; "default" is the engine's own note of its host's network.
  mounts:
    "cut -d' ' -f5- /proc/self/mountinfo | grep -vE '^/run/(netns( |/berth-lab-)|docker/netns/default )' | sed 's/\\(shared\\|master\\):[0-9]*//g' | sort",
  cgroups: "cd /sys/fs/cgroup && find . -type d -not -path '*/sys' | sort",
  folders:
    'find /run /var/lib /etc/docker "$HOME" -xdev -not -path "$HOME/.npm*" -not -path "*/docker/*" -not -name "*.lock" | sort',
};
const everything = Object.keys(looks) as Look[];
