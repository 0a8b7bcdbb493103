import { expect, test } from 'vitest';
import { engineBridges, removalOfEngineRules, removalOfNewChains, removalOfNewTables } from './firewall.ts';

const bridges = new Set(['docker0', 'br-0123456789ab']);
const engineRules = [
  '-P INPUT ACCEPT',
  '-P FORWARD DROP',
  '-P OUTPUT ACCEPT',
  '-N DOCKER',
  '-N DOCKER-USER',
  '-N mine',
  '-A INPUT -s 192.0.2.1/32 -m comment --comment "on docker0 host" -j mine',
  '-A FORWARD -j DOCKER-USER',
  '-A FORWARD -o docker0 -j DOCKER',
  '-A FORWARD -i br-0123456789ab -o br-0123456789ab -j ACCEPT',
  '-A DOCKER-USER -j RETURN',
  '-A FORWARD -i eth0 -o tun0 -j ACCEPT',
];

test('what an engine added goes, rules of others stay, policies return', () => {
  const before = ['-P INPUT ACCEPT', '-P FORWARD ACCEPT', '-P OUTPUT ACCEPT'];
  expect(removalOfEngineRules({ before, now: engineRules, bridges })).toEqual([
    ['-D', 'FORWARD', '-j', 'DOCKER-USER'],
    ['-D', 'FORWARD', '-o', 'docker0', '-j', 'DOCKER'],
    ['-D', 'FORWARD', '-i', 'br-0123456789ab', '-o', 'br-0123456789ab', '-j', 'ACCEPT'],
    ['-F', 'DOCKER'],
    ['-F', 'DOCKER-USER'],
    ['-X', 'DOCKER'],
    ['-X', 'DOCKER-USER'],
    ['-P', 'FORWARD', 'ACCEPT'],
  ]);
});

test('nothing that was there before is touched, be it of another engine', () => {
  expect(removalOfEngineRules({ before: engineRules, now: engineRules, bridges })).toEqual([]);
});

test('a quoted text of a rule is one argument', () => {
  const now = ['-A FORWARD -o docker0 -m comment --comment "two words" -j ACCEPT'];
  expect(removalOfEngineRules({ before: [], now, bridges })[0]).toContain('two words');
});

test('the bridges of an engine are those of which its rules speak, not the devices of the user', () => {
  const user = ['-A DOCKER-USER -i eth0 -j DROP', '-A FORWARD -i eth1 -j DOCKER-USER', '-A FORWARD -i tun0 -j ACCEPT'];
  const network = ['-A DOCKER-ISOLATION-STAGE-1 -i own -o own2 -j RETURN', '-A FORWARD -o docker0 -j DOCKER'];
  expect([...engineBridges([...user, ...network])]).toEqual(['own', 'own2', 'docker0']);
});

test('chains and tables that iptables made for an engine go, in this order, those of others stay', () => {
  const before = { tables: ['ip filter'], chains: ['ip filter INPUT'] };
  const now = {
    tables: ['ip filter', 'ip nat', 'inet mine'],
    chains: ['ip filter INPUT', 'ip filter FORWARD', 'ip nat OUTPUT', 'inet mine input'],
  };
  expect(removalOfNewChains({ before, now })).toEqual([
    ['delete', 'chain', 'ip', 'filter', 'FORWARD'],
    ['delete', 'chain', 'ip', 'nat', 'OUTPUT'],
  ]);
  expect(removalOfNewTables({ before, now })).toEqual([]);
  expect(removalOfNewTables({ before, now: { ...now, chains: before.chains } })).toEqual([
    ['delete', 'table', 'ip', 'nat'],
  ]);
});
