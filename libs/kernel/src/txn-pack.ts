import { BerthError } from './errors.ts';
import type { Compare, StoreOp, TxnRequest } from './ports/store.ts';

/** etcd's default `--max-txn-ops`. */
export const txnOpsMax = 128;

/** Bytes of values after which no further group joins a txn: etcd refuses requests beyond 1.5 MiB. */
export const txnBytesMax = 1024 * 1024;

/** Ops that must commit together, and what must hold for them. */
export interface TxnGroup {
  readonly compares: readonly Compare[];
  readonly ops: readonly StoreOp[];
}

/**
 * Packs groups, in order, into as few txns as possible: at most 128 ops and 128 compares each, no group torn, `fence` in
 * every one, and no more than 1 MiB of values unless one group alone has more. Ops on one key within a txn collapse to the last (etcd refuses duplicates); equal compares collapse to one.
 * A group that does not fit alone is refused with InvalidArgument: split it where it is made.
 */
export function packTxns(groups: readonly TxnGroup[], fence?: Compare): TxnRequest[] {
  const txns: TxnRequest[] = [];
  let compares = new Map<string, Compare>();
  let ops = new Map<string, StoreOp>();
  const flush = (): void => {
    if (ops.size > 0) txns.push({ compares: [...compares.values()], ops: [...ops.values()] });
    compares = new Map();
    ops = new Map();
    if (fence) compares.set(compareId(fence), fence);
  };
  flush();
  for (const group of groups) {
    const nextCompares = new Map(compares);
    for (const compare of group.compares) nextCompares.set(compareId(compare), compare);
    const nextOps = new Map(ops);
    for (const op of group.ops) nextOps.set(op.key, op);
    const fits = nextOps.size <= txnOpsMax && nextCompares.size <= txnOpsMax;
    if (fits && (ops.size === 0 || bytesOf(nextOps) <= txnBytesMax)) {
      compares = nextCompares;
      ops = nextOps;
      continue;
    }
    flush();
    for (const compare of group.compares) compares.set(compareId(compare), compare);
    for (const op of group.ops) ops.set(op.key, op);
    if (ops.size > txnOpsMax || compares.size > txnOpsMax) {
      throw new BerthError('InvalidArgument', `a group of ${group.ops.length} ops does not fit into one txn`, {
        reason: 'TXN_TOO_LARGE',
      });
    }
  }
  flush();
  return txns;
}

function bytesOf(ops: ReadonlyMap<string, StoreOp>): number {
  let bytes = 0;
  for (const op of ops.values()) if (op.kind === 'put') bytes += op.value.length;
  return bytes;
}

function compareId(compare: Compare): string {
  return JSON.stringify(compare);
}
