import type { Node } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { Clock } from '@berth/kernel';
import { MemoryLogger, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { assemble, describeNode, FakeAgent } from './testing.ts';

const { NODE_STATUS_READY, NODE_STATUS_SUSPECT, NODE_STATUS_LOST } = NodeStatus;

/** A process's clock: while it stands still, its timers wait, and time goes on. */
class ProcessClock implements Clock {
  readonly #world: VirtualClock;
  #held: (() => void)[] | undefined;

  constructor(world: VirtualClock) {
    this.#world = world;
  }

  freeze(): void {
    this.#held = [];
  }

  thaw(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const fn of held) fn();
  }

  monotonic(): number {
    return this.#world.monotonic();
  }

  wall(): number {
    return this.#world.wall();
  }

  timer(ms: number, fn: () => void): () => void {
    let cancelled = false;
    const cancel = this.#world.timer(ms, () => {
      const fire = (): void => {
        if (!cancelled) fn();
      };
      if (this.#held) this.#held.push(fire);
      else fire();
    });
    return () => {
      cancelled = true;
      cancel();
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.timer(ms, done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }
}

/** Hosts on a switch: which are on, whose agents run, and which packets arrive. Host 1 is the manager. */
class Switch {
  readonly clock: VirtualClock;
  readonly off = new Set<string>();
  readonly agentDown = new Set<string>();
  readonly mute = new Set<string>();
  readonly cuts = new Set<string>();

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  arrives(from: string, to: string): boolean {
    if (this.off.has(from) || this.off.has(to)) return false;
    return from === to || !this.cuts.has(`${from} ${to}`);
  }

  both(a: string, b: string): boolean {
    return this.arrives(a, b) && this.arrives(b, a);
  }

  async probe(target: Node, timeoutMs: number, helper: Node | undefined): Promise<'open' | 'refused' | 'none'> {
    const from = helper?.hostname ?? 'h1';
    const asked = !helper || (this.both('h1', from) && !this.agentDown.has(from) && !this.mute.has(from));
    if (!asked || !this.both(from, target.hostname)) {
      await this.clock.sleep(timeoutMs);
      return 'none';
    }
    return this.agentDown.has(target.hostname) || this.mute.has(target.hostname) ? 'refused' : 'open';
  }
}

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

async function cluster(hosts: number, seed = 1) {
  const clock = new VirtualClock();
  const store = new MemoryStore({ clock });
  const lan = new Switch(clock);
  const clocks = new Map<string, ProcessClock>();
  const made = assemble({
    clock,
    store,
    log: new MemoryLogger(),
    rng: (own) => new SeededRng(own + seed),
    replicas: 2,
    prober: lan,
    clockOf: (replica) => {
      const own = new ProcessClock(clock);
      clocks.set(replica, own);
      return own;
    },
  });
  ends.push(() => {
    made.end.abort();
    expect(made.failures).toEqual([]);
  });
  const names = Array.from({ length: hosts }, (_, i) => `h${i + 1}`);
  const ids = new Map<string, string>();
  const agents = new Map<string, FakeAgent>();
  for (const [i, hostname] of names.entries()) {
    const description = describeNode({ hostname, address: `198.18.0.${i + 1}`, manager: i === 0 });
    const { nodeId } = await made.joinNode(hostname, description);
    ids.set(hostname, nodeId);
    agents.set(hostname, new FakeAgent(made.replicas[i % 2]!.presence, clock, nodeId, description));
  }
  const lost = new Set<string>();
  const look = (): void => {
    for (const [name, agent] of agents) {
      agent.beating = !lan.agentDown.has(name) && !lan.mute.has(name) && lan.arrives(name, 'h1');
    }
    for (const name of names) if (status(name) === NODE_STATUS_LOST) lost.add(name);
  };
  const stopped = new Set<unknown>();
  /** The leader's process ends for good. */
  const stopLeader = (): void => {
    const leader = made.replicas.find(({ registry }) => registry.leader.leading);
    stopped.add(leader);
    leader?.stop();
  };
  const status = (name: string): NodeStatus => {
    const living = made.replicas.find((replica) => !stopped.has(replica));
    return living?.registry.view.nodeStatus(ids.get(name) ?? '') ?? NodeStatus.NODE_STATUS_UNSPECIFIED;
  };
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 100) {
      look();
      await clock.advance(Math.min(100, left));
    }
    look();
  };
  await pass(3_000);
  return { ...made, stopLeader, lan, names, lost, status, pass, clocks, store, statuses: () => names.map(status) };
}

describe('two replicas and hosts that fail', () => {
  it('power-off: lost 3 s after the last heartbeat, no other with it; power-on: ready again', async () => {
    const { lan, pass, statuses, status, lost } = await cluster(4);
    lan.off.add('h3');
    await pass(2_500);
    expect(status('h3')).toBe(NODE_STATUS_SUSPECT);
    await pass(1_200);
    expect(statuses()).toEqual([NODE_STATUS_READY, NODE_STATUS_READY, NODE_STATUS_LOST, NODE_STATUS_READY]);
    expect([...lost]).toEqual(['h3']);
    lan.off.delete('h3');
    await pass(1_500);
    expect(status('h3')).toBe(NODE_STATUS_READY);
  });

  it.each([
    ['to the manager', ['h2 h1']],
    ['from the manager', ['h1 h2']],
    ['both ways', ['h1 h2', 'h2 h1']],
  ])('packets %s are dropped, others reach it: not lost, for however long', async (_which, cuts) => {
    const { lan, pass, status, lost } = await cluster(4);
    for (const cut of cuts) lan.cuts.add(cut);
    await pass(120_000);
    expect(lost.size).toBe(0);
    // From the manager alone: heartbeats still arrive.
    expect(status('h2')).toBe(cuts.includes('h2 h1') ? NODE_STATUS_SUSPECT : NODE_STATUS_READY);
    lan.cuts.clear();
    await pass(2_000);
    expect(status('h2')).toBe(NODE_STATUS_READY);
  });

  it('cut off from everybody: lost', async () => {
    const { lan, pass, status } = await cluster(4);
    for (const other of ['h1', 'h3', 'h4']) {
      lan.cuts.add(`h2 ${other}`);
      lan.cuts.add(`${other} h2`);
    }
    await pass(5_000);
    expect(status('h2')).toBe(NODE_STATUS_LOST);
  });

  it('a hung agent, whose kernel still takes connections, has 60 s', async () => {
    const { lan, pass, status } = await cluster(3);
    lan.mute.add('h2');
    await pass(58_000);
    expect(status('h2')).toBe(NODE_STATUS_SUSPECT);
    await pass(6_000);
    expect(status('h2')).toBe(NODE_STATUS_LOST);
  });

  it('any one process stands still for 2 s: none is lost', async () => {
    const { lan, names, pass, lost, clocks, store, statuses } = await cluster(4);
    for (const clock of clocks.values()) {
      clock.freeze();
      await pass(2_000);
      clock.thaw();
      await pass(5_000);
    }
    for (const name of names) {
      lan.mute.add(name);
      await pass(2_000);
      lan.mute.delete(name);
      await pass(5_000);
    }
    store.setAvailable(false);
    await pass(2_000);
    store.setAvailable(true);
    await pass(8_000);
    expect(lost.size).toBe(0);
    expect(new Set(statuses())).toEqual(new Set([NODE_STATUS_READY]));
  });

  it('all hosts but the manager’s gone: nothing is lost while leaders change, until they return', async () => {
    const { lan, names, pass, lost, stopLeader, replicas, statuses } = await cluster(3);
    for (const name of names.slice(1)) lan.off.add(name);
    await pass(10_000);
    stopLeader();
    await pass(60_000);
    expect(replicas.filter(({ registry }) => registry.leader.leading)).toHaveLength(1);
    expect(lost.size).toBe(0);
    expect(statuses().slice(1)).toEqual([NODE_STATUS_SUSPECT, NODE_STATUS_SUSPECT]);
    // One after the other: who is slower is not lost for that.
    lan.off.delete('h2');
    await pass(2_000);
    lan.off.delete('h3');
    await pass(3_000);
    expect(lost.size).toBe(0);
    expect(new Set(statuses().slice(1))).not.toContain(NODE_STATUS_LOST);
  });

  it('whatever happens, none is lost that somebody reaches; all are ready when all is well again', async () => {
    const fault = fc.record({
      kind: fc.constantFrom('off', 'cut', 'agent', 'freeze', 'store'),
      a: fc.integer({ min: 2, max: 5 }),
      b: fc.integer({ min: 1, max: 5 }),
      forMs: fc.integer({ min: 200, max: 8_000 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { minLength: 1, maxLength: 6 }), fc.nat(1_000), async (faults, seed) => {
        const { lan, pass, lost, clocks, store, statuses } = await cluster(5, seed);
        for (const { kind, a, b, forMs } of faults) {
          const before = new Set(lost);
          const one = `h${a}`;
          if (kind === 'off') lan.off.add(one);
          else if (kind === 'cut' && b !== a) lan.cuts.add(`${one} h${b}`);
          else if (kind === 'agent') lan.agentDown.add(one);
          else if (kind === 'freeze') clocks.get(`replica${b % 2}`)?.freeze();
          else if (kind === 'store') store.setAvailable(false);
          await pass(forMs);
          // One fault at a time: only a host without power is reached by nobody.
          for (const name of lost) if (!before.has(name)) expect([...lan.off]).toContain(name);
          lan.off.clear();
          lan.cuts.clear();
          lan.agentDown.clear();
          for (const clock of clocks.values()) clock.thaw();
          store.setAvailable(true);
          await pass(6_000);
        }
        await pass(6_000);
        expect(new Set(statuses())).toEqual(new Set([NODE_STATUS_READY]));
      }),
      { numRuns: 15 },
    );
  });
});
