import type { Identity } from '@berth/kernel';
import { describe, expect, it } from 'vitest';
import { natsConf, natsUserOf, natsUsersConf } from './nats-permissions.ts';

const identities: Identity[] = [
  { role: 'service', name: 'registry' },
  { role: 'service', name: 'network-manager' },
  { role: 'node', id: 'n2' },
  { role: 'node', id: 'n1' },
  { role: 'subscriber', name: 'audit' },
];

describe('NATS users', () => {
  it('are named by the DNS name of the certificate', () => {
    expect(identities.map((identity) => natsUserOf(identity)?.name)).toEqual([
      'registry.service.berth',
      'network-manager.service.berth',
      'n2.node.berth',
      'n1.node.berth',
      'audit.subscriber.berth',
    ]);
  });

  it('publish only their own kinds', () => {
    const publish = natsUserOf({ role: 'service', name: 'network-manager' })?.publish ?? [];
    expect(publish.filter((subject) => subject.startsWith('berth.'))).toEqual(['berth.network.>']);
    expect(publish.filter((subject) => /(BERTH|LOG)_(REGISTRY|SCHEDULER)|DELETE|PURGE/u.test(subject))).toEqual([]);
    expect(natsUserOf({ role: 'node', id: 'n1' })?.publish).toEqual([]);
  });

  it('are none for identities without business there', () => {
    for (const identity of [{ role: 'local-root' }, { role: 'anyone' }, { role: 'service', name: 'signer' }] as const) {
      expect(natsUserOf(identity)).toBeUndefined();
    }
  });

  it('give the same text in whatever order they come, each once', () => {
    const text = natsUsersConf(identities);
    expect(natsUsersConf([...identities, ...identities].reverse())).toBe(text);
    expect(text.match(/user:/gu)).toHaveLength(identities.length);
    expect(text).toContain('{ user: "n1.node.berth", permissions: { publish: { deny: ">" }, subscribe: { allow: [');
  });
});

describe('nats.conf', () => {
  it('writes IPv6 addresses in brackets and lets nobody in without a certificate', () => {
    const options = { port: 7451, serverName: 'c1', certs: '/certs', storeDir: '/data' };
    expect(natsConf({ ...options, host: 'fd00::1' })).toContain('listen: "[fd00::1]:7451"');
    expect(natsConf({ ...options, host: '127.0.0.1' })).toContain('verify_and_map: true');
  });
});
