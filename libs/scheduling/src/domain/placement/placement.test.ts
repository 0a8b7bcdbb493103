import { NodeStatus } from '@berth/contracts/registry';
import { Availability } from '@berth/contracts/scheduler';
import type { PortSpec } from '@berth/contracts/workload';
import { Protocol } from '@berth/contracts/workload';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeFacts } from '../../testing/builders.ts';
import { unused } from '../state/usage.ts';
import { parseConstraint, unmetConstraint } from './constraints.ts';
import { explainPlacement, place } from './place.ts';
import { portsConflict } from './ports.ts';
import type { Candidate, Demand } from './types.ts';

const gibibyte = 1024 ** 3;
const demand = (more: Partial<Demand> = {}): Demand => ({
  serviceId: 's',
  resources: { cpuMillis: 0, memoryBytes: 0 },
  hostPorts: [],
  constraints: [],
  volumeNodes: new Map(),
  ...more,
});
const candidate = (id: string, more: Partial<Candidate> = {}, facts = {}): Candidate => ({
  node: nodeFacts(id, facts),
  availability: Availability.AVAILABILITY_UNSPECIFIED,
  usage: unused,
  ...more,
});
const port = (published: number, hostIp = '', protocol: Protocol = Protocol.PROTOCOL_TCP): PortSpec => ({
  target: 80,
  published,
  protocol,
  hostIp,
});
const placed = (asked: Demand, candidates: readonly Candidate[]) => {
  const placement = place(asked, candidates);
  return placement.kind === 'placed' ? placement.nodeId : placement.failure;
};

describe('filters', () => {
  it('each says what it left out, with numbers; a node counts for the first', () => {
    const failure = placed(
      demand({
        resources: { cpuMillis: 2500, memoryBytes: gibibyte },
        hostPorts: [port(8080)],
        constraints: ['node.labels.disk == ssd'],
      }),
      [
        candidate('down', {}, { status: NodeStatus.NODE_STATUS_SUSPECT }),
        candidate('deaf', {}, { dispatchSynced: false }),
        candidate('paused', { availability: Availability.AVAILABILITY_PAUSE }),
        candidate('plain'),
        candidate('busy', { usage: { ...unused, cpuMillis: 2000 } }, { labels: { disk: 'ssd' } }),
        candidate('full', { usage: { ...unused, memoryBytes: 8 * gibibyte - 1 } }, { labels: { disk: 'ssd' } }),
        candidate('taken', { usage: { ...unused, ports: [port(8080, '127.0.0.1')] } }, { labels: { disk: 'SSD' } }),
      ],
    );
    expect(failure).toEqual({
      summary:
        'none of 7 nodes can take it: 2 not ready, 1 paused or drained, 1 excluded by constraints, 1 short of cpu, ' +
        '1 short of memory, 1 with the host port taken',
      nodes: 7,
      passing: false,
      filters: [
        {
          filter: 'node-ready',
          nodes: 2,
          detail: 'host-down is suspect, host-deaf is not listening: its agent has no synced dispatch session',
        },
        { filter: 'availability', nodes: 1, detail: 'host-paused' },
        { filter: 'constraint', nodes: 1, detail: 'node.labels.disk == ssd: not met by 1' },
        { filter: 'cpu', nodes: 1, detail: 'needs 2.5 cpu, most free 2' },
        { filter: 'memory', nodes: 1, detail: 'needs 1024 MiB, most free 0 MiB' },
        { filter: 'host-port', nodes: 1, detail: '8080->80/tcp is taken on 1' },
      ],
    });
  });

  it('counts and eligible nodes sum up to all nodes', () => {
    const node = fc.record({ ready: fc.boolean(), cpu: fc.nat(5000), paused: fc.boolean(), ssd: fc.boolean() });
    fc.assert(
      fc.property(fc.array(node, { maxLength: 12 }), fc.nat(5000), (nodes, cpuMillis) => {
        const asked = demand({ resources: { cpuMillis, memoryBytes: 0 }, constraints: ['node.labels.disk == ssd'] });
        const candidates = nodes.map((each, index) =>
          candidate(
            `n${index}`,
            {
              usage: { ...unused, cpuMillis: each.cpu },
              availability: each.paused ? Availability.AVAILABILITY_DRAIN : Availability.AVAILABILITY_ACTIVE,
            },
            { dispatchSynced: each.ready, labels: each.ssd ? { disk: 'ssd' } : {} },
          ),
        );
        const fits = nodes.filter(
          (each) => each.ready && !each.paused && each.ssd && each.cpu + cpuMillis <= 4000,
        ).length;
        const { filters } = explainPlacement(asked, candidates);
        expect(filters.reduce((sum, { nodes: count }) => sum + count, fits)).toBe(nodes.length);
        expect(place(asked, candidates).kind).toBe(fits > 0 ? 'placed' : 'failed');
      }),
    );
  });

  it('a task goes where its volumes live, and nowhere else', () => {
    const nodes = [candidate('n1'), candidate('n2')];
    expect(placed(demand({ volumeNodes: new Map([['shop_data', 'n2']]) }), nodes)).toBe('n2');
    const asked = demand({ volumeNodes: new Map([['shop_data', 'n3']]) });
    expect(placed(asked, nodes)).toMatchObject({
      summary: expect.stringMatching(/^volume shop_data lives on node n3 \(left; .*--volumes/u),
      filters: [{ filter: 'volume', nodes: 2 }],
    });
    const lost = candidate('n3', {}, { status: NodeStatus.NODE_STATUS_LOST });
    expect(placed(asked, [...nodes, lost])).toMatchObject({
      summary: 'volume shop_data lives on node host-n3 (lost); 2 without the volume, 1 not ready',
      passing: false,
    });
    const drained = candidate('n3', { availability: Availability.AVAILABILITY_DRAIN });
    expect(placed(asked, [...nodes, drained])).toMatchObject({
      summary: 'volume shop_data lives on node host-n3 (drained); 2 without the volume, 1 paused or drained',
    });
    const full = candidate('n3', { usage: { ...unused, cpuMillis: 4000 } });
    expect(placed({ ...asked, resources: { cpuMillis: 1, memoryBytes: 0 } }, [...nodes, full])).toMatchObject({
      summary: 'volume shop_data lives on node host-n3; 2 without the volume, 1 short of cpu',
    });
  });

  it('says when it may pass by itself: a node would take the task, were it not suspect or deaf just now', () => {
    const busy = candidate('busy', { usage: { ...unused, cpuMillis: 4000 } });
    const suspect = candidate('s', {}, { status: NodeStatus.NODE_STATUS_SUSPECT });
    const passing = (others: readonly Candidate[]) =>
      explainPlacement(demand({ resources: { cpuMillis: 1, memoryBytes: 0 } }), others).passing;
    expect(passing([busy, suspect])).toBe(true);
    expect(passing([busy, candidate('d', {}, { dispatchSynced: false })])).toBe(true);
    expect(passing([busy, candidate('l', {}, { status: NodeStatus.NODE_STATUS_LOST })])).toBe(false);
    expect(passing([busy, { ...suspect, usage: busy.usage }])).toBe(false);
    expect(passing([candidate('free'), suspect])).toBe(false);
  });

  it('without a node, says so', () => {
    expect(placed(demand(), [])).toEqual({ summary: 'there is no node', filters: [], nodes: 0, passing: false });
  });
});

describe('choice', () => {
  it('fewest failures of the slot, then spread, then least loaded, then by id', () => {
    const of = (count: number) => new Map([['s', count]]);
    expect(placed(demand(), [candidate('b'), candidate('a')])).toBe('a');
    expect(placed(demand(), [candidate('a', { usage: { ...unused, cpuMillis: 100 } }), candidate('b')])).toBe('b');
    expect(
      placed(demand(), [
        candidate('a', { usage: { ...unused, tasksOfService: of(1) } }),
        candidate('b', { usage: { ...unused, cpuMillis: 3900, tasksOfService: of(0) } }),
      ]),
    ).toBe('b');
    expect(
      placed(demand({ failuresOn: new Map([['b', 1]]) }), [
        candidate('a', { usage: { ...unused, tasksOfService: of(3) } }),
        candidate('b'),
      ]),
    ).toBe('a');
  });

  it('does not depend on the order in which nodes are given', () => {
    const node = fc.record({ cpu: fc.nat(4000), tasks: fc.nat(3) });
    fc.assert(
      fc.property(fc.array(node, { minLength: 1, maxLength: 8 }), fc.integer(), (nodes, seed) => {
        const candidates = nodes.map(({ cpu, tasks }, index) =>
          candidate(`n${index}`, { usage: { ...unused, cpuMillis: cpu, tasksOfService: new Map([['s', tasks]]) } }),
        );
        const shuffled = [...candidates].sort((a, b) => (a.node.id + seed < b.node.id + seed ? 1 : -1));
        expect(placed(demand(), shuffled)).toBe(placed(demand(), candidates));
      }),
    );
  });
});

describe('host ports', () => {
  it.each([
    [port(80), port(80), true],
    [port(80), port(81), false],
    [port(80), port(80, '', Protocol.PROTOCOL_UDP), false],
    [port(80), port(80, '', Protocol.PROTOCOL_UNSPECIFIED), true],
    [port(80, '127.0.0.1'), port(80, '127.0.0.2'), false],
    [port(80, '127.0.0.1'), port(80, '0.0.0.0'), true],
    [port(80, '::'), port(80, '127.0.0.1'), true],
    [port(0), port(0), false],
  ])('%j and %j conflict: %s', (a, b, expected) => {
    expect(portsConflict(a, b)).toBe(expected);
    expect(portsConflict(b, a)).toBe(expected);
  });
});

describe('constraints', () => {
  const node = nodeFacts('n1', {
    manager: true,
    labels: { disk: 'ssd', 'com.example/rack': 'r1' },
    engineLabels: { gpu: 'yes' },
  });

  it.each([
    'node.id == n1',
    'node.hostname==host-n1',
    'node.role == manager',
    'node.role != worker',
    'node.labels.disk == SSD',
    'node.labels.disk != hdd',
    'node.labels.missing != anything',
    'node.labels.com.example/rack == r1',
    'engine.labels.gpu == yes',
    'node.platform.os == linux',
    'node.platform.arch == x86_64',
  ])('%s is met', (text) => expect(unmetConstraint(node, [text])).toBeUndefined());

  it.each(['node.id == n2', 'node.role == worker', 'node.labels.missing == x', 'node.labels.disk != ssd'])(
    '%s is not',
    (text) => expect(unmetConstraint(node, ['node.id == n1', text])).toBe(text),
  );

  it.each(['', 'node.id', 'node.id = n1', 'node.id ==', 'node.colour == red', 'node.role == chief', 'labels.x == y'])(
    '%j is refused',
    (text) => expect(parseConstraint(text).kind).toBe('invalid'),
  );
});
