import type { Change } from '@berth/contracts/registry';
import { Node, NodeStatus, Revocation } from '@berth/contracts/registry';
import type { Identity } from '@berth/kernel';
import { describe, expect, it } from 'vitest';
import type { AdmissionSource } from './admission.ts';
import { Admission } from './admission.ts';

const node: Identity = { role: 'node', id: 'n1' };
const ann: Identity = { role: 'operator', name: 'ann' };

/** A mirror that is told what it holds. */
class Source implements AdmissionSource {
  readonly resources = new Map<string, Change>();
  revision: object | undefined;
  readonly #listeners = new Set<(step: { kind: string; changes?: { key: string }[] }) => void>();

  onStep(listener: (step: { kind: string; changes?: { key: string }[] }) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(key: string, resource: Change['resource']): void {
    this.resources.set(key, { scopes: [], key, resource });
    this.step('changes', key);
  }

  step(kind: string, key?: string): void {
    if (kind !== 'disconnected') this.revision = {};
    for (const listener of this.#listeners) listener({ kind, ...(key === undefined ? {} : { changes: [{ key }] }) });
  }

  node(partial: Partial<Node>): void {
    this.set('node/n1', { $case: 'node', value: Node.fromPartial({ id: 'n1', publicKeySha256: 'k1', ...partial }) });
  }
}

const setUp = () => {
  const source = new Source();
  const admission = new Admission(source);
  return { source, reason: (caller: Identity, key = 'k1') => admission.refusal(caller, key)?.reason, admission };
};

describe('admission', () => {
  it('before the first snapshot nobody but services speaks, and all may try again', () => {
    const { admission, reason } = setUp();
    expect(admission.refusal(node, 'k1')).toMatchObject({ code: 'Unavailable', reason: 'NOT_SYNCED' });
    expect(reason(ann)).toBe('NOT_SYNCED');
    expect(reason({ role: 'service', name: 'scheduler' })).toBeUndefined();
    expect(reason({ role: 'local-root' })).toBeUndefined();
  });

  it('a node speaks while it is known, by the key it joined with, and has not left', () => {
    const { source, admission, reason } = setUp();
    source.step('reset');
    expect(admission.refusal(node, 'k1')).toMatchObject({ code: 'Unavailable', reason: 'NODE_UNKNOWN' });
    for (const status of [NodeStatus.NODE_STATUS_UNSPECIFIED, NodeStatus.NODE_STATUS_LOST]) {
      source.node({ status });
      expect(reason(node)).toBeUndefined();
    }
    expect(admission.refusal(node, 'other')).toMatchObject({ code: 'PermissionDenied', reason: 'FOREIGN_KEY' });
    expect(reason(node, '')).toBe('FOREIGN_KEY');
    source.node({ status: NodeStatus.NODE_STATUS_LEFT });
    expect(admission.refusal(node, 'k1')).toMatchObject({ code: 'PermissionDenied', reason: 'NODE_LEFT' });
  });

  it('a name that was revoked is shut out with every key; names like it are not', () => {
    const { source, admission, reason } = setUp();
    source.set('revocation/operator:ann', {
      $case: 'revocation',
      value: Revocation.fromPartial({ identity: 'operator:ann' }),
    });
    expect(admission.refusal(ann, 'any')).toMatchObject({ code: 'PermissionDenied', reason: 'REVOKED' });
    expect(reason({ role: 'reader', name: 'ann' })).toBeUndefined();
    expect(reason({ role: 'operator', name: 'anne' })).toBeUndefined();
  });

  it('a mirror that lost the registry keeps to what it knew: it opens nothing up and shuts nobody out', () => {
    const { source, reason } = setUp();
    source.node({ status: NodeStatus.NODE_STATUS_LEFT });
    source.step('disconnected');
    expect(reason(node)).toBe('NODE_LEFT');
    expect(reason(ann)).toBeUndefined();
  });

  it('tells when an answer may have changed, and only then', () => {
    const { source, admission } = setUp();
    let told = 0;
    const end = admission.onChange(() => {
      told += 1;
    });
    source.set('endpoint/n/t', undefined);
    source.step('disconnected');
    expect(told).toBe(0);
    source.node({});
    source.step('reset');
    source.set('revocation/operator:ann', undefined);
    expect(told).toBe(3);
    end();
    source.node({});
    expect(told).toBe(3);
  });
});
