import { WriteSet } from '@berth/changes';
import type { Lease, Network } from '@berth/contracts/network';
import type { Stack } from '@berth/contracts/scheduler';
import type { NetworkSpec } from '@berth/contracts/workload';
import type { Revision } from '@berth/kernel';
import type { NetworkSettings } from '@berth/workload';
import { unitsOf } from './ranges.ts';
import { fullNameOf } from './reconcile.ts';
import type { Stored } from './records.ts';
import { claims, leases, networkOwner, networks, rangeUnits, scopeOfNetwork } from './records.ts';

/** Makes a network with its first range: fails if the name in the stack or one of the units is taken. */
export function createNetwork(
  settings: NetworkSettings,
  input: {
    readonly id: string;
    readonly stack: Stack;
    readonly spec: NetworkSpec;
    readonly range: string;
    readonly declaredAt: Revision;
  },
): WriteSet {
  const { id, stack, spec, range } = input;
  const writes = new WriteSet(networkOwner)
    .create(claims, { stackId: stack.id, name: spec.name, networkId: id, declaredAt: { ...input.declaredAt } })
    .create(networks, {
      id,
      stackId: stack.id,
      name: spec.name,
      namespace: stack.namespace,
      stack: stack.name,
      ranges: [range],
      internal: spec.internal,
      driverOpts: spec.driverOpts,
      deleting: false,
      blockPrefix: settings.blockPrefix,
      fullName: fullNameOf(stack.name, spec),
    });
  return takeUnits(writes, settings, range, id);
}

/** Adds a range: fails if one of its units is taken or the network has changed. */
export function growNetwork(settings: NetworkSettings, network: Stored<Network>, range: string): WriteSet {
  const writes = new WriteSet(networkOwner).update(
    networks,
    { ...network.value, ranges: [...network.value.ranges, range] },
    network,
  );
  return takeUnits(writes, settings, range, network.value.id);
}

/** Takes a block: fails if it is taken or the network has changed (it may be deleting, or have given a range back). */
export function takeBlock(network: Stored<Network>, lease: Lease): WriteSet {
  return new WriteSet(networkOwner)
    .compare({ kind: 'unchanged', key: networks.keyOf(network.value), modRevision: network.modRevision })
    .create(leases, lease);
}

/** Gives a block back: fails if it is not held as it was read. */
export function releaseBlock(lease: Stored<Lease>): WriteSet {
  return new WriteSet(networkOwner).delete(leases, lease.value, lease);
}

/** From now on the name is free for a new network, and this one takes no more blocks. */
export function startDeleting(network: Stored<Network>): WriteSet {
  const { stackId, name } = network.value;
  return new WriteSet(networkOwner)
    .update(networks, { ...network.value, deleting: true }, network)
    .delete(claims, { stackId, name, networkId: network.value.id, declaredAt: undefined });
}

export function dropRange(settings: NetworkSettings, network: Stored<Network>, range: string): WriteSet {
  const writes = new WriteSet(networkOwner).update(
    networks,
    { ...network.value, ranges: network.value.ranges.filter((held) => held !== range) },
    network,
  );
  return freeUnits(writes, settings, range);
}

/** The end of a deleting network without blocks: record, range and head. None can lease a block of it in the meantime,
 *  for that needs the record as it was before. */
export function removeNetwork(settings: NetworkSettings, network: Stored<Network>): WriteSet {
  const writes = new WriteSet(networkOwner).delete(networks, network.value, network);
  for (const range of network.value.ranges) freeUnits(writes, settings, range);
  return writes.dropScope(scopeOfNetwork(network.value.id));
}

function takeUnits(writes: WriteSet, settings: NetworkSettings, range: string, networkId: string): WriteSet {
  for (const unit of unitsOf(settings, range)) writes.create(rangeUnits, { unit, range, networkId });
  return writes;
}

function freeUnits(writes: WriteSet, settings: NetworkSettings, range: string): WriteSet {
  for (const unit of unitsOf(settings, range)) writes.delete(rangeUnits, { unit, range, networkId: '' });
  return writes;
}
