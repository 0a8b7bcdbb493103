import { NodeRecord, NodeStatus, Presence, PresenceState } from '@berth/contracts/registry';
import { MemoryStore, VirtualClock } from '@berth/memory';
import { describe, expect, it } from 'vitest';
import { nodes, presences } from './records.ts';
import { writeStatus } from './writes.ts';

describe('writeStatus', () => {
  const status = { nodeId: 'a', status: NodeStatus.NODE_STATUS_LOST, dispatchSynced: false, reason: '' };
  const put = async (store: MemoryStore, state: PresenceState) => {
    const value = Presence.fromPartial({ nodeId: 'a', state });
    const key = presences.keyOf(value);
    const { revision } = await store.txn({ compares: [], ops: [{ kind: 'put', key, value: presences.encode(value) }] });
    return { value, modRevision: revision };
  };

  const putNode = async (store: MemoryStore, removed: boolean) => {
    const value = NodeRecord.fromPartial({ node: { id: 'a' }, removed });
    const { revision } = await store.txn({
      compares: [],
      ops: [{ kind: 'put', key: nodes.keyOf(value), value: nodes.encode(value) }],
    });
    return { value, modRevision: revision };
  };

  it('holds only while the presence it was decided on stands', async () => {
    const store = new MemoryStore({ clock: new VirtualClock() });
    const node = await putNode(store, false);
    const silent = await put(store, PresenceState.PRESENCE_STATE_SILENT);
    await put(store, PresenceState.PRESENCE_STATE_ALIVE);
    expect((await store.txn(writeStatus(status, silent, node))).committed).toBe(false);
    expect((await store.txn(writeStatus(status, undefined, node))).committed).toBe(false);
    const again = await put(store, PresenceState.PRESENCE_STATE_SILENT);
    expect((await store.txn(writeStatus(status, again, node))).committed).toBe(true);
    expect((await store.get('registry/head/node%2Ea')).entry).toBeDefined();
  });

  it('holds only while the node is of the cluster', async () => {
    const store = new MemoryStore({ clock: new VirtualClock() });
    const node = await putNode(store, false);
    const silent = await put(store, PresenceState.PRESENCE_STATE_SILENT);
    await putNode(store, true);
    expect((await store.txn(writeStatus(status, silent, node))).committed).toBe(false);
  });
});
