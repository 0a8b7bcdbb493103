import { followWatch } from '@berth/changes';
import { helloOf } from '@berth/contracts';
import type { Change } from '@berth/contracts/scheduler';
import type { Revision } from '@berth/kernel';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import { stackScope } from '@berth/workload';
import type { Session } from './session.ts';
import { StackState } from './stack-state.ts';
import { softwareVersion } from './version.ts';

/** How often `until` is asked though nothing changed: it may depend on time. */
const askAgainMs = 500;

/**
 * Follows a stack's resources from a revision on, over reconnects, until `until` says that it is enough or the signal
 * aborts; says which.
 */
export async function followStack(
  session: Session,
  stackId: string,
  atLeast: Revision | undefined,
  until: (state: StackState) => boolean,
  signal: AbortSignal,
): Promise<{ readonly state: StackState; readonly reached: boolean }> {
  const state = new StackState();
  const end = new AbortController();
  let caughtUp = false;
  let reached = false;
  const ask = (): void => {
    reached ||= caughtUp && until(state);
    if (reached) end.abort();
  };
  const steps = followWatch<Change>({
    call: (since, callSignal) =>
      session.control.watch(
        { hello: helloOf(session.context.clusterId, softwareVersion), since, scopes: [stackScope(stackId)] },
        { signal: callSignal },
      ),
    clock: new SystemClock(),
    rng: new SystemRng(),
    log: silentLogger,
    signal: AbortSignal.any([signal, end.signal]),
  });
  const timer = setInterval(ask, askAgainMs);
  try {
    for await (const step of steps) {
      if (step.kind === 'disconnected') continue;
      if (step.kind === 'reset') state.reset();
      for (const change of step.changes) state.apply(change);
      // What was acknowledged must be in view before anything is concluded from it.
      caughtUp = !(atLeast && step.revision.epoch === atLeast.epoch && step.revision.revision < atLeast.revision);
      ask();
    }
  } finally {
    clearInterval(timer);
    end.abort();
  }
  return { state, reached };
}
