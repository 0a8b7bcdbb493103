import type { Member, MemberRecord } from '@berth/contracts/registry';
import type { Stored } from './record-table.ts';
import type { RegistryState } from './registry-view.ts';

/** A member whose registry replica is gone has this long to announce itself at another one. */
const memberGraceMs = 10_000;

/** Records that a new instance at the same address replaces: the one before it, which died without a word. */
export function replacedBy(state: Pick<RegistryState, 'members'>, member: Member): Stored<MemberRecord>[] {
  return [...state.members.values()].filter(({ value }) => {
    const other = value.member;
    return (
      other?.identity === member.identity && other.address === member.address && other.instance !== member.instance
    );
  });
}

/**
 * Members whose replica has been gone for `memberGraceMs` as this leader counts. The caller keeps `since` (by replica)
 * from call to call, and drops it when it starts to lead.
 */
export function abandonedMembers(
  state: Pick<RegistryState, 'members' | 'replicas'>,
  since: Map<string, number>,
  nowMs: number,
): Stored<MemberRecord>[] {
  const absent = new Set<string>();
  const abandoned: Stored<MemberRecord>[] = [];
  for (const record of state.members.values()) {
    const { replica } = record.value;
    if (state.replicas.get(replica)) continue;
    absent.add(replica);
    const sinceMs = since.get(replica) ?? nowMs;
    since.set(replica, sinceMs);
    if (nowMs - sinceMs >= memberGraceMs) abandoned.push(record);
  }
  for (const replica of since.keys()) if (!absent.has(replica)) since.delete(replica);
  return abandoned;
}
