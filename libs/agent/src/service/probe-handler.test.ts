import { describe, expect, it } from 'vitest';
import { ProbeHandler } from './probe-handler.ts';

describe('ProbeHandler', () => {
  const asked: unknown[] = [];
  const handler = (answer: 'open' | 'refused' | 'none') =>
    new ProbeHandler({
      probe: async (address, timeoutMs) => {
        asked.push([address, timeoutMs]);
        return answer;
      },
    });
  const request = { address: '198.18.0.2', port: 7431, timeoutMs: 1_000 };

  it('says what came back', async () => {
    expect(await handler('open').probe(request)).toEqual({ answered: true, refused: false });
    expect(await handler('refused').probe(request)).toEqual({ answered: false, refused: true });
    expect(await handler('none').probe(request)).toEqual({ answered: false, refused: false });
    expect(asked).toContainEqual([{ host: '198.18.0.2', port: 7431 }, 1_000]);
  });

  it.each([
    [{ address: 'db.internal' }],
    [{ address: '' }],
    [{ port: 0 }],
    [{ port: 65_536 }],
    [{ timeoutMs: 0 }],
    [{ timeoutMs: 10_001 }],
  ])('refuses %j', async (wrong) => {
    await expect(handler('open').probe({ ...request, ...wrong })).rejects.toMatchObject({ reason: 'BAD_PROBE' });
  });
});
