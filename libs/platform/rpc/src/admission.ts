import type { BerthError, Identity } from '@berth/kernel';
import { rpcLimits } from './limits.ts';

/** Who may still speak, whatever its certificate proves: asked at every call, and again whenever an answer may be new. */
export interface Admission {
  /** Why a caller is refused; undefined if it is not. `keySha256` is that of its public key (DER), hex. */
  refusal(caller: Identity, keySha256: string): BerthError | undefined;
  /** Calls the listener whenever an answer may have changed; the returned function ends it. */
  onChange(listener: () => void): () => void;
}

/** A call under way that may be ended. */
export interface AdmittedCall {
  /** Aborts, with the refusal as its reason, when the caller may no longer speak. */
  readonly signal: AbortSignal;
  leave(): void;
}

interface Running {
  readonly caller: Identity;
  readonly keySha256: string;
  readonly ended: AbortController;
  doomed: boolean;
}

/**
 * Keeps out who is not admitted, and ends the calls of who is no longer: new ones at once, those under way after
 * `refusedGraceMs`, in which a handler that learns of it by itself can say goodbye.
 */
export class AdmissionGate {
  readonly #admission: Admission;
  readonly #running = new Set<Running>();
  readonly #end: () => void;

  constructor(admission: Admission) {
    this.#admission = admission;
    this.#end = admission.onChange(() => this.#review());
  }

  /** Throws the refusal. The call must leave when it has ended. */
  enter(caller: Identity, keySha256: string): AdmittedCall {
    const refusal = this.#admission.refusal(caller, keySha256);
    if (refusal !== undefined) throw refusal;
    const call: Running = { caller, keySha256, ended: new AbortController(), doomed: false };
    this.#running.add(call);
    return { signal: call.ended.signal, leave: () => this.#running.delete(call) };
  }

  close(): void {
    this.#end();
  }

  #review(): void {
    for (const call of this.#running) {
      if (call.doomed || !this.#refusal(call)) continue;
      call.doomed = true;
      setTimeout(() => {
        call.doomed = false;
        const refusal = this.#refusal(call);
        if (refusal !== undefined) call.ended.abort(refusal);
      }, rpcLimits.refusedGraceMs);
    }
  }

  #refusal({ caller, keySha256 }: Running): BerthError | undefined {
    return this.#admission.refusal(caller, keySha256);
  }
}
