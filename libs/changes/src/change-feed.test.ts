import type { MirrorStep, Store } from '@berth/kernel';
import { headKey, isBerthError } from '@berth/kernel';
import { describe, expect, it } from 'vitest';
import type { ChangeLike, WatchAnswer } from './change.ts';
import { ChangeFeed } from './change-feed.ts';
import { followWatch, RemoteMirror } from './remote-mirror.ts';
import type { View } from './view.ts';

/** Records `own/thing/<scope>/<id>` become resources of the same name. */
const view = (): View<ChangeLike> => {
  const held = new Map<string, ChangeLike>();
  const change = (key: string, value: string | undefined): ChangeLike => ({
    scopes: [key.split('/')[2] ?? ''],
    key,
    resource: value === undefined ? undefined : { $case: 'thing', value },
  });
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return {
    reset(entries) {
      held.clear();
      for (const e of entries) if (e.key.startsWith('own/thing/')) held.set(e.key, change(e.key, text(e.value)));
      return [...held.values()];
    },
    apply: (changes) =>
      changes
        .map((c) => (c.kind === 'put' ? change(c.entry.key, text(c.entry.value)) : change(c.key, undefined)))
        .filter((c) => c.key.startsWith('own/thing/')),
    snapshot: () => [...held.values()],
  };
};

const bytes = (text: string) => new TextEncoder().encode(text);
const entry = (key: string, value: string, modRevision: number) => ({
  key,
  value: bytes(value),
  modRevision,
  createRevision: modRevision,
});
const at = (revision: number, epoch = 'e1') => ({ epoch, revision });

/** A store whose mirror yields what the test pushes. */
class ScriptedStore {
  #queue: MirrorStep[] = [];
  #wake: (() => void) | undefined;
  push(step: MirrorStep): void {
    this.#queue.push(step);
    this.#wake?.();
  }
  put(revision: number, scope: string, id: string, value: string): void {
    this.push({
      kind: 'batch',
      revision: at(revision),
      changes: [
        { kind: 'put', entry: entry(headKey('own', scope), '', revision) },
        { kind: 'put', entry: entry(`own/thing/${scope}/${id}`, value, revision) },
      ],
    });
  }
  async *mirror(_prefix: string, { signal }: { signal: AbortSignal }): AsyncGenerator<MirrorStep> {
    while (!signal.aborted) {
      const next = this.#queue.shift();
      if (next) yield next;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
    }
  }
}

const clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  sleep: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
  timer: (ms: number, fn: () => void) => {
    const t = setTimeout(fn, ms);
    return () => clearTimeout(t);
  },
};
const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const rng = { next: () => 0.5, bytes: (n: number) => new Uint8Array(n) };

const setUp = (options: { changesMax?: number; catchUpMs?: number } = {}) => {
  const store = new ScriptedStore();
  const feed = new ChangeFeed({
    owner: 'own',
    store: store as unknown as Store,
    view: view(),
    clock,
    log: quiet,
    ...options,
  });
  const end = new AbortController();
  const running = feed.run(end.signal);
  store.push({
    kind: 'reset',
    revision: at(10),
    entries: [entry('own/thing/s1/a', '1', 7), entry(headKey('own', 's1'), '', 7)],
  });
  const stop = async (): Promise<void> => {
    end.abort();
    await running;
  };
  return { store, feed, stop };
};
const take = async (watch: AsyncIterator<WatchAnswer<ChangeLike>>) => {
  const next = await watch.next();
  if (next.done) throw new Error('watch ended');
  return next.value;
};
const shown = (answer: { changes: ChangeLike[] }) => answer.changes.map((c) => [c.key, c.resource?.value]);

describe('ChangeFeed', () => {
  it('gives a snapshot, then each revision in order', async () => {
    const { store, feed, stop } = setUp();
    const end = new AbortController();
    const watch = feed.watch({}, end.signal);
    const first = await take(watch);
    expect([first.reset, first.revision, shown(first)]).toEqual([true, at(10), [['own/thing/s1/a', '1']]]);
    store.put(11, 's1', 'a', '2');
    const second = await take(watch);
    expect([second.reset, second.revision, shown(second)]).toEqual([false, at(11), [['own/thing/s1/a', '2']]]);
    end.abort();
    await stop();
  });

  it('goes on after a held revision, and resets for one that has fallen out or is of another epoch', async () => {
    const { store, feed, stop } = setUp({ changesMax: 2 });
    for (let r = 11; r <= 15; r++) store.put(r, 's1', `k${r}`, 'x');
    await feed.waitFor(at(15));
    const resumed = await feed.changes('s1', at(13));
    expect([resumed.reset, shown(resumed).length]).toEqual([false, 2]);
    expect((await feed.changes('s1', at(12))).reset).toBe(true);
    const other = await feed.changes('s1', at(99, 'e0'));
    expect([other.reset, shown(other).length, other.head]).toEqual([true, 6, at(15)]);
    await stop();
  });

  it('answers UNAVAILABLE to a reader that is ahead of it', async () => {
    const { feed, stop } = setUp({ catchUpMs: 20 });
    await expect(feed.changes('s1', at(11))).rejects.toSatisfy((e) => isBerthError(e, 'Unavailable', 'BEHIND'));
    await stop();
  });

  it('says which heads differ', async () => {
    const { store, feed, stop } = setUp();
    store.put(11, 's2', 'b', 'x');
    await feed.waitFor(at(11));
    const answer = await feed.compareHeads(
      [
        { scope: 's1', revision: at(7) },
        { scope: 's2', revision: at(9) },
        { scope: 'gone', revision: at(3) },
      ],
      at(9),
    );
    expect(answer.heads).toEqual([
      { scope: 's2', revision: at(11) },
      { scope: 'gone', revision: at(0) },
    ]);
    await stop();
  });

  it('sends large snapshots in parts, which a follower puts together', async () => {
    const { store, feed, stop } = setUp();
    store.push({
      kind: 'reset',
      revision: at(20),
      entries: Array.from({ length: 1_201 }, (_, i) => entry(`own/thing/s1/${i}`, 'x', 20)),
    });
    await feed.waitFor(at(20));
    const end = new AbortController();
    const steps = followWatch<ChangeLike>({
      call: (since, signal) => feed.watch({ since }, signal),
      clock,
      rng,
      log: quiet,
      signal: end.signal,
    });
    const step = (await steps.next()).value;
    expect([step?.kind, step && 'changes' in step && step.changes.length]).toEqual(['reset', 1_201]);
    end.abort();
    await stop();
  });
});

describe('RemoteMirror', () => {
  it('ends equal to the feed over broken streams and never goes back to a lagging replica', async () => {
    const { store, feed, stop } = setUp();
    const lagging: WatchAnswer<ChangeLike> = { revision: at(3), reset: true, more: false, changes: [] };
    let calls = 0;
    const mirror = new RemoteMirror<ChangeLike>();
    const end = new AbortController();
    const seen: number[] = [];
    mirror.onStep((step) => {
      if (step.kind !== 'disconnected') seen.push(step.revision.revision);
    });
    const running = mirror.run({
      clock: { ...clock, sleep: () => clock.sleep(1) },
      rng,
      log: quiet,
      signal: end.signal,
      async *call(since, signal) {
        calls += 1;
        if (calls === 2) {
          yield lagging;
          return;
        }
        let left = 2;
        for await (const answer of feed.watch({ since }, signal)) {
          yield answer;
          left -= 1;
          if (left === 0 && calls < 6) return;
        }
      },
    });
    for (let r = 11; r <= 40; r++) {
      store.put(r, 's1', `k${r % 7}`, String(r));
      if (r % 5 === 0) await clock.sleep(3);
    }
    await expect.poll(() => mirror.revision?.revision).toBe(40);
    expect(new Map([...mirror.resources].map(([k, c]) => [k, c.resource?.value]))).toEqual(
      new Map([...feed.resources].map(([k, c]) => [k, c.resource?.value])),
    );
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(calls).toBeGreaterThan(2);
    end.abort();
    await running;
    await stop();
  });
});
