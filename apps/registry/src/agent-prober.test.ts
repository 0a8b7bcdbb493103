import { rpc } from '@berth/contracts';
import type { ProbeRequest } from '@berth/contracts/agent';
import { Node } from '@berth/contracts/registry';
import { bind } from '@berth/kernel';
import { MemoryLogger, MemoryRpc, SeededRng, VirtualClock } from '@berth/memory';
import { expect, it } from 'vitest';
import { agentProber } from './agent-prober.ts';

it('asks another node’s agent, and takes one that cannot be asked for silence', async () => {
  const clock = new VirtualClock();
  const memory = new MemoryRpc({ clock, rng: new SeededRng(1), logger: new MemoryLogger() });
  const answers: Record<string, { answered: boolean; refused: boolean }> = {
    '198.18.0.2': { answered: true, refused: false },
    '198.18.0.3': { answered: false, refused: true },
  };
  const asked: ProbeRequest[] = [];
  const probe = async (request: ProbeRequest) => {
    asked.push(request);
    return answers[request.address] ?? { answered: false, refused: false };
  };
  memory.serve({
    identity: { role: 'node', id: 'helper' },
    address: '198.18.0.9:7431',
    services: [bind(rpc.probe, { probe })],
  });
  const prober = agentProber(memory.dialer({ role: 'service', name: 'registry' }));
  const node = (id: string, address: string) => Node.fromPartial({ id, address, agentPort: 7431 });
  const through = async (target: string, helper: Node) => {
    let answer: string | undefined;
    void prober.probe(node('target', target), 1_000, helper).then((said) => {
      answer = said;
    });
    await clock.advanceUntil(() => answer !== undefined, 20_000);
    return answer;
  };
  const helper = node('helper', '198.18.0.9');
  expect(await through('198.18.0.2', helper)).toBe('open');
  expect(await through('198.18.0.3', helper)).toBe('refused');
  expect(await through('198.18.0.4', helper)).toBe('none');
  expect(await through('198.18.0.2', node('gone', '198.18.0.8'))).toBe('none');
  expect(asked[0]).toEqual({ address: '198.18.0.2', port: 7431, timeoutMs: 1_000 });
});
