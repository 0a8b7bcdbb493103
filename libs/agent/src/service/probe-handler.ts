import type { ProbeRequest, ProbeResponse, ProbeServiceImplementation } from '@berth/contracts/agent';
import type { CallerContext } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { isIpAddress } from '@berth/workload';

const timeoutMaxMs = 10_000;

export interface ProbeHandlerOptions {
  /** `open`: a server of ours answered; `refused`: only its host did; `none`: nothing came back in time. Never rejects. */
  readonly probe: (
    address: { readonly host: string; readonly port: number },
    timeoutMs: number,
  ) => Promise<'open' | 'refused' | 'none'>;
}

/** Serves `berth.agent.v1.ProbeService`: looks for the registry's leader whether another host's agent is there. */
export class ProbeHandler implements ProbeServiceImplementation<CallerContext> {
  readonly #options: ProbeHandlerOptions;

  constructor(options: ProbeHandlerOptions) {
    this.#options = options;
  }

  async probe({ address, port, timeoutMs }: ProbeRequest): Promise<ProbeResponse> {
    if (!isIpAddress(address))
      throw bad(`the address must be an IP address, not ${JSON.stringify(address.slice(0, 80))}`);
    if (port < 1 || port > 65_535) throw bad(`the port must be 1 to 65535, not ${port}`);
    if (timeoutMs < 1 || timeoutMs > timeoutMaxMs)
      throw bad(`timeout_ms must be 1 to ${timeoutMaxMs}, not ${timeoutMs}`);
    const answer = await this.#options.probe({ host: address, port }, timeoutMs);
    return { answered: answer === 'open', refused: answer === 'refused' };
  }
}

function bad(what: string): BerthError {
  return new BerthError('InvalidArgument', what, { reason: 'BAD_PROBE' });
}
