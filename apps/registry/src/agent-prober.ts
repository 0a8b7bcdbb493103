import { rpc } from '@berth/contracts';
import type { Prober } from '@berth/discovery';
import type { RpcDialer } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import { probeServer } from '@berth/rpc';

/** What a helper's own answer may take longer than its probe. */
const helperExtraMs = 500;

/** Probes agents from this host, and by the agents of others. */
export function agentProber(dialer: RpcDialer): Prober {
  return {
    probe: async ({ address, agentPort: port }, timeoutMs, helper) => {
      if (!helper) return probeServer({ host: address, port }, timeoutMs);
      const client = dialer.client(rpc.probe, {
        identity: { role: 'node', id: helper.id },
        addresses: () => [`${helper.address}:${helper.agentPort}`],
      });
      try {
        const { answered, refused } = await client.probe(
          { address, port, timeoutMs },
          { timeoutMs: timeoutMs + helperExtraMs },
        );
        if (answered) return 'open';
        return refused ? 'refused' : 'none';
      } catch (error) {
        // A helper that can't be asked says nothing.
        if (!isBerthError(error)) throw error;
        return 'none';
      }
    },
  };
}
