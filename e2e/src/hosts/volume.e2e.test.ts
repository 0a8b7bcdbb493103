import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { retry } from '../cluster.ts';
import type { Rig } from './rig.ts';
import { startRig } from './rig.ts';

const stack = 'kept';
/** Anywhere but on the manager, which is not powered off. */
const text = `
name: ${stack}
services:
  db:
    image: redis:7
    volumes: ["data:/data"]
    stop_signal: SIGKILL
    deploy: { placement: { constraints: ["node.hostname != h1"] } }
volumes:
  data:
`;

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(async () => {
  for (const host of rig.others) if (host.initPid === undefined) await host.start();
  await rig.cluster.tryBerth(['down', stack, '--volumes']);
});

interface View {
  readonly task: { readonly pending?: { readonly summary: string; readonly filters: readonly { filter: string }[] } };
}

/** Where redis runs, and what it answers there. */
const database = async () => {
  const [container] = (await rig.judge.snapshot()).filter(({ labels }) => labels['berth.stack'] === stack);
  const host = rig.others.find(({ name }) => name === container?.host);
  if (!container || !host) throw new Error('the database does not run');
  return {
    host,
    redis: async (...words: string[]) =>
      (await host.exec(['docker', 'exec', container.id, 'redis-cli', ...words])).trim(),
  };
};

describe('a database with a named volume', () => {
  it('is pending, with the reason, while its host is off, and has its data when the host is back', async ({ task }) => {
    const { judge, cluster } = rig;
    await rig.up(text);
    await judge.settled();
    const { host, redis } = await database();
    await redis('set', 'answer', '42');
    await redis('save');
    await host.kill();
    await rig.statuses({ [host.name]: 'lost' });
    await retry(20_000, async () => {
      const views = await cluster.json<View[]>(['ps', stack]);
      const pending = views.find((view) => view.task.pending)?.task.pending;
      if (!pending) throw new Error(`nothing is pending: ${JSON.stringify(views)}`);
      expect(JSON.stringify(pending)).toMatch(/volume \S*data/u);
    });
    await judge.settled({ except: { [`${stack}/db`]: 0 } });
    const began = performance.now();
    await host.start();
    await judge.settled({ withinMs: 30_000 });
    recordFigures(task, { 'serving again after power-on ms': Math.round(performance.now() - began) });
    const again = await database();
    expect(again.host).toBe(host);
    expect(await again.redis('get', 'answer')).toBe('42');
    await rig.down(stack);
    await judge.settled();
  });
});
