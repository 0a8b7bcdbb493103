import type { MethodWithOptions } from '@berth/contracts';
import { accessRuleOf } from '@berth/contracts';
import type { CallerContext, Identity } from '@berth/kernel';
import { admits, BerthError, formatIdentity } from '@berth/kernel';
import type { RpcWire } from './rpc-wire.ts';

interface MessageType {
  encode(message: unknown): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
  fromPartial(partial: unknown): unknown;
}

/** What is used of a generated method definition. */
export interface RpcMethod extends MethodWithOptions {
  readonly name: string;
  readonly requestType: MessageType;
  readonly requestStream: boolean;
  readonly responseType: MessageType;
  readonly responseStream: boolean;
  readonly options: MethodWithOptions['options'] & { readonly idempotencyLevel?: string };
}

/** A message as it comes out at the other end: filled with defaults, and sharing nothing with the sender's. */
export function overTheWire(type: MessageType, message: unknown): unknown {
  return type.decode(type.encode(type.fromPartial(message)).finish());
}

/** Method definitions of a service by the names of their handler methods. */
export function methodsOf(definition: unknown): Readonly<Record<string, RpcMethod>> {
  return (definition as { readonly methods: Record<string, RpcMethod> }).methods;
}

export interface ServedCall {
  readonly path: string;
  readonly method: RpcMethod;
  readonly handler: (request: unknown, context: CallerContext) => unknown;
  readonly caller: Identity;
  readonly peer: string;
  readonly requests: AsyncIterable<unknown>;
  readonly responses: RpcWire<unknown>;
  readonly signal: AbortSignal;
  readonly onBug: (path: string, error: unknown) => void;
}

/** The server's half of a call: access first, then the handler, then its answer or its error. */
export async function serveCall(call: ServedCall): Promise<void> {
  const { method, responses } = call;
  try {
    checkAccess(call.path, method, call.caller);
    const request = method.requestStream ? call.requests : await firstOf(call.requests);
    const answer = call.handler(request, contextOf(call));
    if (method.responseStream) {
      for await (const message of answer as AsyncIterable<unknown>) {
        if (!(await responses.send(overTheWire(method.responseType, message)))) break;
      }
    } else {
      await responses.send(overTheWire(method.responseType, await answer));
    }
    responses.end();
  } catch (thrown) {
    responses.end(errorOverTheWire(call, thrown));
  }
}

/** What the real transport's handlers get too; Berth's own read only caller, peer and signal. */
function contextOf(call: ServedCall): CallerContext {
  const headers = { metadata: noMetadata(), header: noMetadata(), trailer: noMetadata(), sendHeader: () => {} };
  const context = { ...headers, caller: call.caller, peer: call.peer, signal: call.signal };
  return context;
}

/** There is nothing in the headers. */
function noMetadata(): object {
  const none = {
    set: () => none,
    append: () => none,
    delete: () => {},
    get: () => undefined,
    getAll: () => [],
    has: () => false,
    [Symbol.iterator]: () => [][Symbol.iterator](),
  };
  return none;
}

function checkAccess(path: string, method: RpcMethod, caller: Identity): void {
  const allow = accessRuleOf(method)?.allow ?? [];
  if (admits(allow, caller)) return;
  const who = formatIdentity(caller);
  throw new BerthError('PermissionDenied', `${who} may not call ${path}`, {
    reason: 'ACCESS_DENIED',
    details: { method: path, caller: who, allow: allow.join(' ') },
  });
}

/** Causes stay at home, and of a programmer's error the client learns only that there was one. */
function errorOverTheWire({ path, onBug }: ServedCall, thrown: unknown): BerthError {
  if (thrown instanceof BerthError) {
    return new BerthError(thrown.code, thrown.message, { reason: thrown.reason, details: thrown.details });
  }
  if (thrown instanceof Error && thrown.name === 'AbortError') return cancelled();
  onBug(path, thrown);
  return new BerthError('Internal', 'internal error', { reason: 'INTERNAL' });
}

export function cancelled(): BerthError {
  return new BerthError('Cancelled', 'the call was cancelled', { reason: 'CANCELLED' });
}

async function firstOf(requests: AsyncIterable<unknown>): Promise<unknown> {
  for await (const request of requests) return request;
  throw cancelled();
}
