import { JoinResponse } from '@berth/contracts/registry';
import { BerthError } from '@berth/kernel';
import { MemoryDisk, MemoryLogger, SeededRng, VirtualClock } from '@berth/memory';
import { expect, it } from 'vitest';
import { joinCluster } from './join-flow.ts';
import { PhaseBoard } from './phase.ts';
import { StateFiles } from './state-files.ts';

const damaged = new BerthError('InvalidArgument', 'this is no join token', { reason: 'BAD_TOKEN' });
const ended = new BerthError('PermissionDenied', 'the join token is not valid (any more)', { reason: 'BAD_TOKEN' });
const away = new BerthError('Unavailable', 'nobody answers');
const welcome = JoinResponse.fromPartial({ nodeId: 'n1', clusterId: 'c1', certificatePem: 'cert', caPem: 'ca' });

/** A host that joins while `answers` come, the last for ever. */
function make(answers: readonly (BerthError | JoinResponse)[], newcomer: boolean) {
  const clock = new VirtualClock();
  const files = new StateFiles(new MemoryDisk());
  const tokens: string[] = [];
  const port = {
    csr: async () => Buffer.from('csr'),
    join: async (token: string) => {
      tokens.push(token);
      const answer = answers[Math.min(tokens.length, answers.length) - 1];
      if (answer instanceof BerthError || answer === undefined) throw answer;
      return answer;
    },
    save: async () => {},
  };
  const options = { port, files, board: new PhaseBoard(), clock, rng: new SeededRng(1), log: new MemoryLogger() };
  const abort = new AbortController();
  let asked = 0;
  const request = async () => ({ node: undefined, hello: undefined });
  const joining = joinCluster({ ...options, newcomer }, async () => `token${++asked}`, request, abort.signal);
  return { clock, files, tokens, joining, abort };
}

it('waits for a control plane that is still starting, with the token as it then is', async () => {
  const { clock, files, tokens, joining } = make([away, away, welcome], true);
  await clock.advance(10_000);
  expect((await joining)?.node).toMatchObject({ nodeId: 'n1', clusterId: 'c1' });
  expect(tokens).toEqual(['token1', 'token2', 'token3']);
  expect(await files.node()).toMatchObject({ nodeId: 'n1' });
});

it.each([damaged, ended])('a newcomer whose token is no good gives up at once: $code', async (error) => {
  const { tokens, joining } = make([error], true);
  await expect(joining).rejects.toBe(error);
  expect(tokens.length).toBe(1);
});

it('a node whose token is no good keeps its containers and waits for a better one', async () => {
  const { clock, tokens, joining } = make([ended, ended, welcome], false);
  await clock.advance(10_000);
  expect((await joining)?.node.nodeId).toBe('n1');
  expect(tokens.length).toBe(3);
});
