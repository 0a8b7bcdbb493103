import { run } from './exec.ts';
import { inNetwork } from './network-namespace.ts';

/** Who is at the end of a cable of the switch: a host or the client. */
export interface Plugged {
  readonly name: string;
}

/** Frames that are dropped on the way from one cable to another. */
export interface Cut {
  /** Only from the first to the second. Default: both ways. */
  readonly oneWay?: boolean;
  /** Only TCP to this port of the second, and the answers unless `oneWay`. Default: everything. */
  readonly port?: number;
}

interface Pair extends Cut {
  readonly from: string;
  readonly to: string;
}

/**
 * The faults of a switch: frames are dropped in silence, nobody sees a loss of carrier or a refused connection. What is
 * wanted is kept here and written whole, so that any fault can be made twice and undone twice.
 */
export class Cables {
  readonly #lan: string;
  readonly #mute = new Set<string>();
  readonly #deaf = new Set<string>();
  #pairs: readonly Pair[] = [];

  /** `lan`: the switch's namespace. */
  constructor(lan: string) {
    this.#lan = lan;
  }

  /** Nothing reaches them (`to`), nothing that they send arrives (`from`), or both. */
  partition(plugged: readonly Plugged[], way?: 'from' | 'to'): Promise<void> {
    for (const { name } of plugged) {
      if (way !== 'to') this.#mute.add(name);
      if (way !== 'from') this.#deaf.add(name);
    }
    return this.#write();
  }

  heal(plugged: readonly Plugged[]): Promise<void> {
    for (const { name } of plugged) {
      this.#mute.delete(name);
      this.#deaf.delete(name);
    }
    return this.#write();
  }

  cut(from: Plugged, to: Plugged, cut: Cut): Promise<void> {
    this.#pairs = [...this.#pairs, { ...cut, from: from.name, to: to.name }];
    return this.#write();
  }

  /** Undoes every cut between the two. */
  mend(a: Plugged, b: Plugged): Promise<void> {
    const between = [`${a.name} ${b.name}`, `${b.name} ${a.name}`];
    this.#pairs = this.#pairs.filter(({ from, to }) => !between.includes(`${from} ${to}`));
    return this.#write();
  }

  /** All faults, in words. */
  describe(): string[] {
    const both = [...this.#mute].filter((name) => this.#deaf.has(name));
    return [
      ...both.map((name) => `${name} cut off`),
      ...[...this.#mute].filter((name) => !both.includes(name)).map((name) => `from ${name} nothing arrives`),
      ...[...this.#deaf].filter((name) => !both.includes(name)).map((name) => `to ${name} nothing arrives`),
      ...this.#pairs.map(
        ({ from, to, oneWay, port }) =>
          `${from} ${oneWay ? '→' : '↔'} ${to} cut${port === undefined ? '' : ` for TCP port ${port}`}`,
      ),
    ];
  }

  async #write(): Promise<void> {
    await run([...inNetwork(this.#lan), 'nft', '-f', '-'], { stdin: this.#script() });
  }

  #script(): string {
    const sets: Record<string, string[]> = { mute: quoted(this.#mute), deaf: quoted(this.#deaf) };
    const [all, ports, answers] = [new Set<string>(), new Set<string>(), new Set<string>()];
    for (const { from, to, oneWay, port } of this.#pairs) {
      const [there, back] = [`"${from}" . "${to}"`, `"${to}" . "${from}"`];
      if (port === undefined) all.add(there);
      else ports.add(`${there} . ${port}`);
      if (oneWay) continue;
      if (port === undefined) all.add(back);
      else answers.add(`${back} . ${port}`);
    }
    Object.assign(sets, { pairs: [...all], ports: [...ports], answers: [...answers] });
    return Object.entries(sets)
      .flatMap(([set, elements]) => [
        `flush set bridge lab ${set}`,
        ...(elements.length > 0 ? [`add element bridge lab ${set} { ${elements.join(', ')} }`] : []),
      ])
      .join('\n');
  }
}

function quoted(names: Iterable<string>): string[] {
  return [...names].map((name) => `"${name}"`);
}
