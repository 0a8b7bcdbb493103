import type { ContainerView, HostView, Violation } from '../observation.ts';
import { berth, isApplication, isUp } from '../observation.ts';
import type { PromisedStack } from '../promise.ts';

/** Who is to be asked for which names. */
export interface Question {
  readonly asker: ContainerView;
  readonly stack: string;
  /** Service → exactly these addresses. */
  readonly expected: ReadonlyMap<string, readonly string[]>;
}

/** On each host one container of each stack is asked for all of the stack's services that share a network with it. */
export function questionsOf(hosts: readonly HostView[], promised: readonly PromisedStack[]): Question[] {
  const containers = hosts.flatMap((host) => host.containers).filter((each) => each.running && isApplication(each));
  return promised.flatMap((stack) => {
    const own = containers.filter(({ labels }) => labels[berth.stack] === stack.name);
    const names = stack.services.filter(({ named }) => named).map(({ name }) => name);
    return hosts.flatMap((host): Question[] => {
      const asker = own.find((container) => container.host === host.name && networksOf(container).size > 0);
      if (!asker) return [];
      const expected = new Map(names.map((name) => [name, addressesOf(own, name, networksOf(asker))]));
      return [{ asker, stack: stack.name, expected }];
    });
  });
}

function addressesOf(own: readonly ContainerView[], service: string, networks: ReadonlySet<string>): string[] {
  return own
    .filter((container) => container.labels[berth.service] === service && isUp(container))
    .flatMap((container) => container.addresses)
    .filter(({ network }) => networks.has(network))
    .map(({ ip }) => ip)
    .sort();
}

function networksOf({ addresses }: ContainerView): Set<string> {
  return new Set(addresses.map(({ network }) => network));
}

/** A shell script for the asker: for each name a line `# name`, then whatever the resolver says. */
export function questionScript(names: Iterable<string>): string {
  return [
    'ask() { if command -v getent >/dev/null; then getent ahostsv4 "$1"; else nslookup -type=a "$1" 127.0.0.11; fi; }',
    ...[...names].map((name) => `echo "# ${name}"; ask ${name} 2>/dev/null`),
    'true',
  ].join('\n');
}

/** Reads what the script printed: name → addresses. */
export function parseAnswers(output: string): Map<string, string[]> {
  const answers = new Map<string, string[]>();
  for (const part of output.split(/^# /mu).slice(1)) {
    const [name = '', ...lines] = part.split('\n');
    const found = lines.join('\n').match(/\b\d+\.\d+\.\d+\.\d+\b/gu) ?? [];
    answers.set(name.trim(), [...new Set(found)].filter((ip) => !ip.startsWith('127.')).sort());
  }
  return answers;
}

export function judgeNames({ asker, stack, expected }: Question, answers: ReadonlyMap<string, string[]>): Violation[] {
  return [...expected].flatMap(([name, wanted]): Violation[] => {
    const found = answers.get(name) ?? [];
    const missing = wanted.filter((ip) => !found.includes(ip));
    const foreign = found.filter((ip) => !wanted.includes(ip));
    if (missing.length + foreign.length === 0) return [];
    const parts = [
      ...(missing.length > 0 ? [`lacks ${missing.join(', ')}`] : []),
      ...(foreign.length > 0 ? [`gives ${foreign.join(', ')}, which no healthy task has`] : []),
    ];
    return [{ rule: 'name', where: `${stack}/${name}`, what: `asked on ${asker.host}: ${parts.join('; ')}` }];
  });
}
