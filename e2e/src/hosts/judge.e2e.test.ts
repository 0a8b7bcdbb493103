import { Judge } from '@berth/testing-judge';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../cluster.ts';
import { haCluster } from '../cluster.ts';
import { helloService } from '../web-image.ts';

const text = (replicas: number) => `
name: judged
services:
  web:
${helloService}
    environment: { GREETING: hello }
    deploy: { replicas: ${replicas} }
  caller:
    image: berth/guestbook:dev
    entrypoint: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { mode: global }
`;

let cluster: Cluster;
let judge: Judge;
beforeAll(async () => {
  cluster = await haCluster();
  judge = new Judge(cluster);
});
afterAll(async () => {
  await cluster.tryBerth(['down', 'judged', '--volumes']);
});

const up = async (file: string) => {
  await cluster.berth(['up', '-f', cluster.compose('judged', file)]);
  judge.promised(file);
};
const rules = async () => (await judge.verdict()).map(({ rule }) => rule);

describe('the judge', () => {
  it('finds what was deployed as promised, and sees by itself what is not', async () => {
    const empty = await judge.inventory();
    await up(text(2));
    await judge.holds();
    const before = await judge.snapshot();
    expect(before).toHaveLength(5);
    await judge.untouched(before);

    // What was never acknowledged.
    judge.promised(text(3));
    expect(await rules()).toEqual(expect.arrayContaining(['missing', 'spec']));
    judge.withdrawn('judged');
    expect(await rules()).toEqual(expect.arrayContaining(['orphan', 'spec']));
    judge.promised(text(2).replace('hello', 'bye'));
    expect(await rules()).toEqual(expect.arrayContaining(['stale', 'spec']));

    // What Berth would mend, while its agent is held.
    judge.promised(text(2));
    await cluster.docker(['pause', 'berth-agent']);
    try {
      const [victim = ''] = await cluster.containers('judged', 'caller');
      await cluster.docker(['pause', victim]);
      expect(new Set(await rules())).toEqual(new Set(['missing']));
      await cluster.docker(['unpause', victim]);
      // Nor does it answer for names meanwhile.
      expect(new Set(await rules())).toEqual(new Set(['name']));
      await judge.holds({ names: false });
      await cluster.docker(['restart', '--time', '0', victim]);
      await expect(judge.untouched(before)).rejects.toThrow('was restarted');
    } finally {
      await cluster.docker(['unpause', 'berth-agent']);
    }

    await expect(judge.nothingLeft(empty, 0)).rejects.toThrow(/device: bt.*scheduler\/task/su);
    await cluster.berth(['down', 'judged', '--volumes']);
    judge.withdrawn('judged');
    await judge.settled();
    await judge.same(empty);
  });
});
