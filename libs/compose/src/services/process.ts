import type { Ulimit } from '@berth/contracts/workload';
import type { Field } from '../field.ts';
import { ulimitLevel } from '../keys.ts';
import { isHostname } from './networking.ts';
import { compareText, readPairs, sortedRecord } from './pairs.ts';

const capabilities = new Set(
  `AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER
  FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE
  NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE
  SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM ALL`.split(/\s+/),
);

const ulimitNames = new Set(
  `as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack`.split(' '),
);

const signals = new Set(
  `ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP
  TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ`.split(/\s+/),
);

/** Capabilities in upper case without `CAP_`, sorted. */
export function readCapabilities(field: Field | undefined): string[] {
  const names = (field?.items() ?? []).flatMap((item) => {
    const name = item.string()?.toUpperCase().replace(/^CAP_/, '');
    if (name === undefined) return [];
    if (!capabilities.has(name)) return item.fail(`"${name}" is not a Linux capability`, 'see capabilities(7)') ?? [];
    return [name];
  });
  return [...new Set(names)].sort(compareText);
}

/** Kernel parameters of the container's own namespaces. */
export function readSysctls(field: Field | undefined, hostNetwork: boolean): Record<string, string> {
  if (field === undefined) return {};
  const values = new Map<string, string>();
  for (const { key, value, field: item } of readPairs(field)) {
    if (!/^[a-zA-Z0-9_-]+([./][a-zA-Z0-9_-]+)+$/.test(key) || value === undefined) {
      item.fail(
        `"${key}" is not a kernel parameter with a value`,
        'write net.core.somaxconn=1024 or net.core.somaxconn: 1024',
      );
      continue;
    }
    if (hostNetwork && key.startsWith('net.')) {
      item.fail(`${key} belongs to the host with network_mode: host`, 'remove it, or set it on the host');
    }
    values.set(key, value);
  }
  return sortedRecord(values);
}

/** Process limits, sorted by name; one number is both the soft and the hard limit. */
export function readUlimits(field: Field | undefined): Ulimit[] {
  const limits = (field?.entries() ?? []).flatMap(([name, entry]): Ulimit[] => {
    if (!ulimitNames.has(name)) {
      entry.fail(`"${name}" is not a process limit`, `use one of: ${[...ulimitNames].join(', ')}`);
      return [];
    }
    const limit = entry.node.kind === 'map' ? softAndHard(entry) : bothLimits(entry);
    return limit === undefined ? [] : [{ name, ...limit }];
  });
  return limits.sort((a, b) => compareText(a.name, b.name));
}

/** -1 is unlimited. */
const ulimitMax = Number.MAX_SAFE_INTEGER;

function bothLimits(field: Field): Omit<Ulimit, 'name'> | undefined {
  const value = field.integer(-1, ulimitMax);
  return value === undefined ? undefined : { soft: value, hard: value };
}

function softAndHard(field: Field): Omit<Ulimit, 'name'> | undefined {
  field.keys(ulimitLevel);
  const softField = field.get('soft');
  const hardField = field.get('hard');
  if (softField === undefined || hardField === undefined) {
    return field.fail('a limit needs soft and hard', 'write both, or one number for both');
  }
  const soft = softField.integer(-1, ulimitMax);
  const hard = hardField.integer(-1, ulimitMax);
  if (soft === undefined || hard === undefined) return undefined;
  if (hard !== -1 && (soft === -1 || soft > hard)) {
    return softField.fail('the soft limit is over the hard limit', 'lower soft or raise hard');
  }
  return { soft, hard };
}

/** A signal by name or number, as written. */
export function readStopSignal(field: Field | undefined): string {
  const text = field?.scalar()?.toUpperCase();
  if (field === undefined || text === undefined) return '';
  const name = text.replace(/^SIG/, '');
  // Docker knows 34 to 64, by their distance from either end.
  const realTime = /^RT(MIN(\+([1-9]|1[0-5]))?|MAX(-([1-9]|1[0-4]))?)$/.test(name);
  if (signals.has(name) || realTime) return `SIG${name}`;
  if (/^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= 64) return text;
  field.fail(`"${text}" is not a signal`, 'write a name such as SIGTERM or a number from 1 to 64');
  return '';
}

/** A user: name or uid, with an optional group. */
export function readUser(field: Field | undefined): string {
  const text = field?.scalar();
  if (field === undefined || text === undefined || text === '') return '';
  if (/^[^\s:]+(:[^\s:]+)?$/.test(text)) return text;
  field.fail(`"${text}" is not a user`, 'write USER, UID, USER:GROUP or UID:GID');
  return '';
}

/** The folder in which the container's process starts. */
export function readWorkingDir(field: Field | undefined): string {
  const text = field?.string() ?? '';
  if (text !== '' && !text.startsWith('/')) field?.fail(`"${text}" is not an absolute path`, 'start the path with /');
  return text;
}

/** The container's own host name. */
export function readHostname(field: Field | undefined): string {
  const text = field?.string() ?? '';
  if (text !== '' && (!isHostname(text) || text.length > 64)) {
    field?.fail(`"${text}" cannot be a host name`, 'use up to 64 letters, digits, "-" and "."');
  }
  return text;
}
