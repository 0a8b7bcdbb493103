import { WriteSet } from '@berth/changes';
import type { Holder, Lease, Network } from '@berth/contracts/network';
import type { Stack } from '@berth/contracts/scheduler';
import type { NetworkSpec } from '@berth/contracts/workload';
import type { Revision } from '@berth/kernel';
import type { NetworkSettings } from '@berth/workload';
import { formatCidr } from '@berth/workload';
import { backendOf } from './backend.ts';
import { unitsOf } from './ranges.ts';
import { fullNameOf } from './reconcile.ts';
import type { Stored } from './records.ts';
import { claims, holders, leases, networkOwner, networks, rangeUnits, scopeOfNetwork, vnis } from './records.ts';

/** Makes a network with its first range: fails if the name in the stack, one of the units or the VNI is taken. */
export function createNetwork(
  settings: NetworkSettings,
  input: {
    readonly id: string;
    readonly stack: Stack;
    readonly spec: NetworkSpec;
    readonly range: string;
    readonly vni: number;
    readonly declaredAt: Revision;
  },
): WriteSet {
  const { id, stack, spec, range, vni } = input;
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
      vni,
      // A stack that was accepted has been checked; one from before the option was known has the default.
      backend: backendOf(spec.driverOpts) ?? 'vxlan',
      pool: formatCidr(settings.pool),
    })
    .create(vnis, { vni, networkId: id });
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

/**
 * Takes a block: fails if it is taken, the network has changed (it may be deleting, or have given a range back), or the
 * node holds other blocks of it than was read: the same request may have been carried out elsewhere.
 */
export function takeBlock(network: Stored<Network>, lease: Lease, holder: Stored<Holder> | undefined): WriteSet {
  const writes = asRead(network).create(leases, lease);
  const { networkId, nodeId, block } = lease;
  if (!holder) return writes.create(holders, { networkId, nodeId, blocks: [block] });
  return writes.update(holders, { ...holder.value, blocks: [...holder.value.blocks, block] }, holder);
}

/**
 * Writes nothing: fails if the block is not held as it was read, or the network has changed. The node may have given it
 * back a moment ago, which a mirror that lags does not show yet; told that it holds the block still, it would use one that
 * is nobody's. And another network may have the name by now: new tasks join the network that the answer says.
 */
export function confirmLease(network: Stored<Network>, lease: Stored<Lease>): WriteSet {
  const { modRevision, value } = lease;
  return asRead(network).compare({ kind: 'unchanged', key: leases.keyOf(value), modRevision });
}

/** The node is now reached elsewhere: fails if the block is not held as it was read, or the network has changed. */
export function moveLease(
  network: Stored<Network>,
  lease: Stored<Lease>,
  to: Pick<Lease, 'address' | 'vxlanPort'>,
): WriteSet {
  const { address, vxlanPort } = to;
  return asRead(network).update(leases, { ...lease.value, address, vxlanPort }, lease);
}

/** Gives a block back: fails if it is not held as it was read, or its node holds other blocks than was read. */
export function releaseBlock(lease: Stored<Lease>, holder: Stored<Holder> | undefined): WriteSet {
  const writes = new WriteSet(networkOwner).delete(leases, lease.value, lease);
  if (!holder) return writes;
  const blocks = holder.value.blocks.filter((block) => block !== lease.value.block);
  return blocks.length > 0
    ? writes.update(holders, { ...holder.value, blocks }, holder)
    : writes.delete(holders, holder.value, holder);
}

/** From now on the name is free for a new network, and this one takes no more blocks. */
export function startDeleting(network: Stored<Network>): WriteSet {
  const { stackId, name } = network.value;
  return new WriteSet(networkOwner)
    .update(networks, { ...network.value, deleting: true }, network)
    .delete(claims, { stackId, name, networkId: network.value.id, declaredAt: undefined });
}

/** The name is this network's again: fails if the name is taken, or the network has changed (it may have given ranges back). */
export function reviveNetwork(
  network: Stored<Network>,
  input: { readonly stack: Stack; readonly spec: NetworkSpec; readonly declaredAt: Revision },
): WriteSet {
  const { id: networkId, stackId, name } = network.value;
  const fullName = fullNameOf(input.stack.name, input.spec);
  return new WriteSet(networkOwner)
    .create(claims, { stackId, name, networkId, declaredAt: { ...input.declaredAt } })
    .update(networks, { ...network.value, deleting: false, fullName }, network);
}

export function dropRange(settings: NetworkSettings, network: Stored<Network>, range: string): WriteSet {
  const writes = new WriteSet(networkOwner).update(
    networks,
    { ...network.value, ranges: network.value.ranges.filter((held) => held !== range) },
    network,
  );
  return freeUnits(writes, settings, range);
}

/** The end of a deleting network without blocks: record, range, VNI and head. None can lease a block of it in the meantime,
 *  for that needs the record as it was before. */
export function removeNetwork(settings: NetworkSettings, network: Stored<Network>): WriteSet {
  const { id, vni } = network.value;
  const writes = new WriteSet(networkOwner)
    .delete(networks, network.value, network)
    .delete(vnis, { vni, networkId: id });
  for (const range of network.value.ranges) freeUnits(writes, settings, range);
  return writes.dropScope(scopeOfNetwork(id));
}

/** Fails if the network has changed. */
function asRead({ value, modRevision }: Stored<Network>): WriteSet {
  return new WriteSet(networkOwner).compare({ kind: 'unchanged', key: networks.keyOf(value), modRevision });
}

function takeUnits(writes: WriteSet, settings: NetworkSettings, range: string, networkId: string): WriteSet {
  for (const unit of unitsOf(settings, range)) writes.create(rangeUnits, { unit, range, networkId });
  return writes;
}

function freeUnits(writes: WriteSet, settings: NetworkSettings, range: string): WriteSet {
  for (const unit of unitsOf(settings, range)) writes.delete(rangeUnits, { unit, range, networkId: '' });
  return writes;
}
