import type { MirrorChange, Store, StoredEntry, StoreOp } from '@berth/kernel';
import { decodeToken, encodeToken, headKey } from '@berth/kernel';
import type { ChangeLike } from '../change.ts';
import type { View } from '../view.ts';

/** The simplest owner there is: items of text, each in one scope. For tests. */
export const itemOwner = 'registry';

const prefix = `${itemOwner}/item/`;

export interface ItemChange extends ChangeLike {
  resource?: { $case: 'item'; value: string } | undefined;
}

export function itemKey(scope: string, id: string): string {
  return `${prefix}${encodeToken(scope)}/${id}`;
}

/** Ops that write items (undefined deletes) and touch the heads of their scopes. */
export function itemOps(items: readonly { scope: string; id: string; value: string | undefined }[]): StoreOp[] {
  const scopes = new Set(items.map(({ scope }) => scope));
  return [
    ...items.map(({ scope, id, value }): StoreOp => {
      const key = itemKey(scope, id);
      return value === undefined
        ? { kind: 'delete', key }
        : { kind: 'put', key, value: new TextEncoder().encode(value) };
    }),
    ...[...scopes].map((scope): StoreOp => ({ kind: 'put', key: headKey(itemOwner, scope), value: new Uint8Array() })),
  ];
}

export async function writeItems(store: Store, ...items: Parameters<typeof itemOps>[0][number][]): Promise<number> {
  return (await store.txn({ compares: [], ops: itemOps(items) })).revision;
}

export class ItemView implements View<ItemChange> {
  readonly #items = new Map<string, ItemChange>();

  reset(entries: readonly StoredEntry[]): readonly ItemChange[] {
    this.#items.clear();
    this.apply(entries.map((entry) => ({ kind: 'put', entry })));
    return this.snapshot();
  }

  apply(changes: readonly MirrorChange[]): readonly ItemChange[] {
    return changes.flatMap((change) => {
      const key = change.kind === 'put' ? change.entry.key : change.key;
      if (!key.startsWith(prefix)) return [];
      const [scope = '', id = ''] = key.slice(prefix.length).split('/').map(decodeToken);
      const item: ItemChange = { scopes: [scope], key: `item/${scope}/${id}` };
      if (change.kind === 'put') {
        item.resource = { $case: 'item', value: new TextDecoder().decode(change.entry.value) };
        this.#items.set(item.key, item);
      } else this.#items.delete(item.key);
      return [item];
    });
  }

  snapshot(): readonly ItemChange[] {
    return [...this.#items.values()];
  }
}
