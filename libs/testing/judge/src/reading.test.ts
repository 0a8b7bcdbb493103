import { StackRecord } from '@berth/contracts/scheduler';
import { Task } from '@berth/contracts/workload';
import { describe, expect, it } from 'vitest';
import type { Inspected } from './engine.ts';
import { viewOf } from './engine.ts';
import { parseEvent } from './engine-events.ts';
import { parseKernel } from './inventory.ts';
import { isApplication, isUp } from './observation.ts';
import { lastingKeys, storeOf } from './store.ts';

const inspected: Inspected = {
  Id: 'c1',
  Name: '/berth-t1-1',
  RestartCount: 0,
  Path: 'sh',
  Args: [],
  State: { Running: true, Paused: false, StartedAt: '2026-01-01T00:00:00Z', Health: { Status: 'healthy' } },
  Config: {
    Hostname: 'web-1-t1',
    Image: 'busybox:latest',
    Cmd: ['sh'],
    Env: ['A=b=c'],
    Labels: {
      'berth.task': 't1',
      'berth.joins': JSON.stringify([
        { networkId: 'n1', network: 'default', dockerNetwork: 'berth-net-1', ip: '198.19.0.2' },
        { networkId: 'n2', network: 'back', dockerNetwork: 'berth-net-2', ip: '198.19.1.2' },
      ]),
    },
  },
  NetworkSettings: { Networks: { 'berth-net-1': { IPAddress: '198.19.0.9' } } },
};

describe('an engine’s container', () => {
  it('has the addresses that the engine says, and where it says none those of the label', () => {
    const view = viewOf('h1', inspected);
    expect(view.addresses).toEqual([
      { network: 'n1', ip: '198.19.0.9' },
      { network: 'n2', ip: '198.19.1.2' },
    ]);
    expect([view.name, view.environment, isUp(view), isApplication(view)]).toEqual([
      'berth-t1-1',
      { A: 'b=c' },
      true,
      true,
    ]);
  });

  it('is not up while paused, unhealthy or stopped', () => {
    const up = (state: Partial<Inspected['State']>) =>
      isUp(viewOf('h1', { ...inspected, State: { ...inspected.State, ...state } }));
    expect([up({}), up({ Health: { Status: 'none' } }), up({ Health: undefined })]).toEqual([true, true, true]);
    expect([up({ Paused: true }), up({ Running: false }), up({ Health: { Status: 'unhealthy' } })]).toEqual([
      false,
      false,
      false,
    ]);
  });
});

describe('an engine’s event', () => {
  const line = (action: string, attributes: object) =>
    `{"Action":"${action}","Actor":{"ID":"c1","Attributes":${JSON.stringify(attributes)}},"timeNano":1767225600123456789}`;

  it('keeps its nanoseconds', () => {
    expect(parseEvent(line('start', { 'berth.task': 't1' }))).toEqual({
      action: 'start',
      container: 'c1',
      task: 't1',
      at: 1767225600123456789n,
    });
  });

  it('is of no application where it has no task or a static one, and no start or end otherwise', () => {
    expect(parseEvent(line('die', {}))?.task).toBe('');
    expect(parseEvent(line('die', { 'berth.task': 't1', 'berth.static': 'true' }))?.task).toBe('');
    expect(parseEvent(line('exec_start: sh', {}))).toBeUndefined();
  });
});

describe('the store', () => {
  it('is read by its keys', () => {
    const view = storeOf([
      {
        key: 'scheduler/stack/default/shop',
        value: StackRecord.encode(StackRecord.fromPartial({ stack: { name: 'shop' } })).finish(),
      },
      { key: 'scheduler/task/t1', value: Task.encode(Task.fromPartial({ id: 't1' })).finish() },
      { key: 'registry/presence/n1', value: new Uint8Array() },
      { key: 'scheduler/leader/694d', value: new Uint8Array() },
      { key: 'registry/head/node%2En1', value: new Uint8Array() },
      { key: 'network/network/n1', value: new Uint8Array() },
    ]);
    expect([view.stacks[0]?.name, view.tasks[0]?.id]).toEqual(['shop', 't1']);
    expect(lastingKeys(view)).toEqual(['network/network/n1', 'scheduler/stack/default/shop', 'scheduler/task/t1']);
  });
});

describe('a kernel', () => {
  it('is read without what changes by itself', () => {
    const output = [
      '# device',
      '1: lo: <LOOPBACK,UP> mtu 65536 state UNKNOWN',
      '7: bt00000001@if6: <BROADCAST> mtu 1450 state DOWN',
      '# route',
      '198.19.0.0/26 dev bt00000001 proto kernel scope link src 198.19.0.1 linkdown ',
      '# neighbour',
      '198.18.0.12 dev eth0 lladdr 02:ab:c6:12:00:0c REACHABLE',
      '198.19.0.66 dev vx1 lladdr 02:ab:c6:13:00:42 PERMANENT',
      '# forwarding',
      '02:42:8b:98:84:36 dev docker0 master docker0 permanent',
      '02:ab:c6:13:00:42 dev vx1 dst 198.18.0.12 self permanent',
      '# namespace',
      '/run/netns/berth-lab-74c72c1a-h3',
      '/run/docker/netns/default',
      '/run/berth/netns/n1',
      '# firewall',
      'table inet berth-1 {',
      '\tset bridges {',
      '\t}',
      '\ttype filter hook forward priority filter - 10; policy accept;',
      '}',
      'table ip filter {',
      '\t\ttype filter hook forward priority filter; policy drop;',
      '}',
    ].join('\n');
    expect(parseKernel(output)).toEqual({
      device: ['lo', 'bt00000001'],
      route: ['198.19.0.0/26 dev bt00000001 proto kernel scope link src 198.19.0.1'],
      neighbour: ['198.19.0.66 dev vx1 lladdr 02:ab:c6:13:00:42 PERMANENT'],
      forwarding: ['02:ab:c6:13:00:42 dev vx1 dst 198.18.0.12 self permanent'],
      namespace: ['/run/berth/netns/n1'],
      firewall: [
        'table inet berth-1 {',
        'set bridges {',
        'type filter hook forward priority filter - 10; policy accept;',
        'table ip filter {',
        'type filter hook forward priority filter;',
      ],
    });
  });
});
