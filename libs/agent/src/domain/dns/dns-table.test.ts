import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DnsEndpoint } from './dns-table.ts';
import { DnsTable } from './dns-table.ts';

const endpoint = (networkId: string, task: number, over: Partial<DnsEndpoint> = {}): DnsEndpoint => ({
  taskId: `t${task}`,
  networkId,
  names: ['web', 'Alias'],
  taskName: `web.${task}`,
  ip: `198.19.0.${task}`,
  healthy: true,
  ...over,
});

describe('DnsTable', () => {
  it('gives only healthy addresses, of the networks of the asker', () => {
    const table = new DnsTable();
    table.put(endpoint('a', 1));
    table.put(endpoint('a', 2, { healthy: false }));
    table.put(endpoint('b', 3));
    expect(table.lookup(['a'], 'WEB.')).toEqual({ kind: 'known', ips: ['198.19.0.1'] });
    expect(table.lookup(['a', 'b'], 'alias')).toEqual({ kind: 'known', ips: ['198.19.0.1', '198.19.0.3'] });
    expect(table.lookup(['a'], 'web.2')).toEqual({ kind: 'known', ips: [] });
    expect(table.lookup(['c'], 'web')).toEqual({ kind: 'unknown' });
    expect(table.reverse(['a'], '198.19.0.1')).toBe('web.1');
    expect(table.reverse(['a'], '198.19.0.3')).toBeUndefined();
  });

  it('after any changes equals a table built from what is left', () => {
    const change = fc.record({
      task: fc.integer({ min: 1, max: 6 }),
      network: fc.constantFrom('a', 'b'),
      op: fc.constantFrom('put', 'sick', 'rename', 'delete'),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
        const table = new DnsTable();
        const held = new Map<string, DnsEndpoint>();
        for (const { task, network, op } of changes) {
          const key = `${network}/${task}`;
          if (op === 'delete') {
            held.delete(key);
            table.delete(network, `t${task}`);
            continue;
          }
          const value = endpoint(network, task, {
            healthy: op !== 'sick',
            names: op === 'rename' ? ['other'] : ['web'],
          });
          held.set(key, value);
          table.put(value);
        }
        const fresh = new DnsTable();
        for (const value of held.values()) fresh.put(value);
        const sorted = (t: DnsTable, networks: string[], name: string) => {
          const found = t.lookup(networks, name);
          return found.kind === 'known' ? [...found.ips].sort() : found.kind;
        };
        for (const networks of [['a'], ['b'], ['a', 'b']])
          for (const name of ['web', 'other', 'web.1', 'web.4'])
            expect(sorted(table, networks, name)).toEqual(sorted(fresh, networks, name));
      }),
    );
  });
});
