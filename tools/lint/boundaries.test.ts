// Plants a violation of every boundary, and a clean counterpart, in a copy of the lint configuration: a rule that stops
// biting fails here.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Case {
  readonly rule: string;
  /** Part of the remedy or of the rule's sentence that the message must hold. */
  readonly says: string;
  readonly bad: readonly (readonly [file: string, code: string])[];
  readonly clean: readonly (readonly [file: string, code: string])[];
}

interface Diagnostic {
  readonly category: string;
  readonly message: string;
  readonly severity: string;
  readonly location: { readonly path: string };
}

const root = resolve(import.meta.dirname, '../..');
const boundaryCategories = new Set(['plugin', 'lint/style/noRestrictedGlobals']);
const domain = 'libs/scheduling/src/domain';
const service = 'libs/scheduling/src/service';

function uses(module: string): string {
  return `import * as used from '${module}';\n\nexport const x = used;\n`;
}

function vendor(module: string, home: string, says: string): Case {
  return {
    rule: `${module} stays in ${home}`,
    says,
    bad: [
      [`${service}/loop.ts`, uses(module)],
      ['apps/registry/src/wiring.ts', uses(module)],
      ['libs/platform/memory/src/lazy.ts', `export const later = import('${module}');\n`],
      ['libs/platform/memory/src/again.ts', `export * from '${module}';\n`],
      ['libs/platform/memory/src/types.ts', `import type { T } from '${module}';\n\nexport type U = T;\n`],
    ],
    clean: [
      [`${home}/adapter.ts`, uses(module)],
      ['e2e/src/outside.e2e.test.ts', uses(module)],
    ],
  };
}

function area(from: string, to: string): Case {
  return {
    rule: `${from} does not import ${to}`,
    says: 'Areas (compose, scheduling, discovery, network, agent) import no other area',
    bad: [[`libs/${from}/src/docker/x.ts`, uses(`@berth/${to}`)]],
    clean: [[`libs/${from}/src/docker/x.ts`, uses('@berth/workload')]],
  };
}

function denied(name: string, expression: string): Case {
  return {
    rule: `${name} is out of reach of what decides`,
    says: `global variable ${name}`,
    bad: [
      [`${domain}/x.ts`, `export const x = ${expression};\n`],
      [`${service}/x.ts`, `export const x = ${expression};\n`],
      ['libs/agent/src/service/x.ts', `export const x = ${expression};\n`],
      ['libs/workload/src/x.ts', `export const x = ${expression};\n`],
    ],
    clean: [
      [`${domain}/x.test.ts`, `export const x = ${expression};\n`],
      ['libs/platform/process/src/x.ts', `export const x = ${expression};\n`],
      [`${domain}/shadow.ts`, `export function f(${name}: string): string {\n  return ${name};\n}\n`],
    ],
  };
}

const areas = ['compose', 'scheduling', 'discovery', 'network', 'agent'];
const cases: Case[] = [
  vendor('etcd3', 'libs/platform/store-etcd/src', "take the kernel's Store port"),
  vendor('nats', 'libs/platform/events-nats/src', "take the kernel's EventBus port"),
  vendor('dockerode', 'libs/agent/src/docker', "take the kernel's ContainerRuntime port"),
  vendor('@grpc/grpc-js', 'libs/platform/rpc/src', 'what @berth/rpc exports'),
  vendor('nice-grpc', 'libs/platform/rpc/src', 'what @berth/rpc exports'),
  vendor('nice-grpc-common', 'libs/platform/rpc/src', 'what @berth/rpc exports'),
  vendor('@peculiar/x509', 'libs/platform/identity/src', 'use what @berth/identity exports'),
  vendor('pino', 'libs/platform/process/src', 'Logger and Metrics ports'),
  vendor('prom-client', 'libs/platform/process/src', 'Logger and Metrics ports'),
  vendor('zod', 'libs/platform/process/src', 'read settings once in config.ts'),
  {
    rule: 'zod is allowed in an app only in its config.ts',
    says: 'read settings once in config.ts',
    bad: [['apps/scheduler/src/main.ts', uses('zod')]],
    clean: [['apps/scheduler/src/config.ts', uses('zod')]],
  },
  {
    rule: 'outside users may hold NATS in their own hands',
    says: "take the kernel's EventBus port",
    bad: [['apps/cli/src/events.ts', uses('nats')]],
    clean: [['examples/subscriber/src/main.ts', uses('nats')]],
  },
  {
    rule: 'apps are imported by nobody',
    says: 'Apps are imported by nobody',
    bad: ['cli', 'host-agent', 'network-manager', 'registry', 'scheduler'].map(
      (app) => [`libs/agent/src/docker/${app}.ts`, uses(`@berth/${app}`)] as const,
    ),
    clean: [['apps/scheduler/src/wiring.ts', uses('@berth/scheduling')]],
  },
  {
    rule: "no import reaches into another project's folders",
    says: 'import the package, @berth/<name>',
    bad: [
      ['libs/agent/src/docker/a.ts', uses('@berth/kernel/src/ids.ts')],
      ['libs/agent/src/docker/b.ts', uses('../../../kernel/src/ids.ts')],
      ['libs/agent/src/docker/c.ts', uses('../../../../libs/kernel/index.ts')],
      ['apps/cli/src/d.ts', uses('../../scheduler/src/config.ts')],
    ],
    clean: [
      ['libs/agent/src/docker/a.ts', uses('@berth/contracts/agent')],
      ['libs/agent/src/docker/b.ts', uses('../ports.ts')],
    ],
  },
  ...areas.flatMap((from) => areas.filter((to) => to !== from).map((to) => area(from, to))),
  ...['kernel', 'contracts', 'workload', 'changes', 'platform/rpc'].map((from) => area(from, 'agent')),
  ...['store-etcd', 'events-nats', 'rpc', 'process', 'identity', 'memory'].map((lib) => ({
    rule: `what decides does not depend on ${lib}`,
    says: 'Libs that decide depend on no lib that does I/O',
    bad: [
      [`${domain}/x.ts`, uses(`@berth/${lib}`)],
      [`${service}/x.ts`, uses(`@berth/${lib}`)],
      ['libs/discovery/src/client/x.ts', uses(`@berth/${lib}`)],
      ['libs/network/src/service/x.ts', uses(`@berth/${lib}`)],
      ['libs/agent/src/domain/x.ts', uses(`@berth/${lib}`)],
      ['libs/kernel/src/x.ts', uses(`@berth/${lib}`)],
    ] as const,
    clean: [
      [`${service}/x.test.ts`, uses(`@berth/${lib}`)],
      ['apps/scheduler/src/wiring.ts', uses(`@berth/${lib}`)],
    ] as const,
  })),
  ...[
    'node:fs',
    'node:fs/promises',
    'node:net',
    'node:dgram',
    'node:crypto',
    'node:timers/promises',
    'node:process',
  ].map((module) => ({
    rule: `what decides does not use ${module}`,
    says: 'use no part of Node but assert, buffer and path/posix',
    bad: [
      [`${domain}/x.ts`, uses(module)],
      [`${service}/x.ts`, uses(module)],
      ['libs/compose/src/x.ts', uses(module)],
      ['libs/agent/src/service/x.ts', uses(module)],
    ] as const,
    clean: [
      ['libs/agent/src/docker/x.ts', uses(module)],
      [`${domain}/x.test.ts`, uses(module)],
      [`${domain}/assert.ts`, uses('node:assert/strict')],
    ] as const,
  })),
  denied('Date', 'new Date()'),
  denied('performance', 'performance.now()'),
  denied('setTimeout', 'setTimeout(() => {}, 5)'),
  denied('setInterval', 'setInterval(() => {}, 5)'),
  denied('setImmediate', 'setImmediate(() => {})'),
  denied('process', "process.env['HOME']"),
  denied('globalThis', 'globalThis.process'),
  denied('console', "console.info('x')"),
  denied('crypto', 'crypto.randomUUID()'),
  denied('fetch', "fetch('http://127.0.0.1/')"),
  denied('WebSocket', "new WebSocket('ws://127.0.0.1/')"),
  {
    rule: 'no Math.random in what decides',
    says: "take the kernel's Rng port",
    bad: [
      [`${domain}/x.ts`, 'export const x = Math.random();\n'],
      [`${service}/x.ts`, 'export const x = Math.random;\n'],
    ],
    clean: [
      [`${domain}/x.ts`, 'export const x = Math.max(1, 2);\n'],
      [`${domain}/x.test.ts`, 'export const x = Math.random();\n'],
    ],
  },
  {
    rule: 'no AbortSignal.timeout in what decides',
    says: "take the kernel's Clock port",
    bad: [[`${service}/x.ts`, 'export const x = AbortSignal.timeout(5);\n']],
    clean: [[`${service}/x.ts`, 'export const x = AbortSignal.any([]);\n']],
  },
  {
    rule: 'a decision is synchronous',
    says: 'let the loop in service/ do the waiting',
    bad: [
      [`${domain}/await.ts`, 'export async function f(x: () => unknown) {\n  await x();\n}\n'],
      [
        `${domain}/promise.ts`,
        'export const f = (): Promise<number> => g();\ndeclare const g: () => Promise<number>;\n',
      ],
    ],
    clean: [[`${service}/x.ts`, 'export async function f(x: () => Promise<void>): Promise<void> {\n  await x();\n}\n']],
  },
];

const planted = cases.map((each, index) => ({
  ...each,
  badFiles: each.bad.map(([file, code]) => ({ file: join(`case-${index}/bad`, file), code })),
  cleanFiles: each.clean.map(([file, code]) => ({ file: join(`case-${index}/clean`, file), code })),
}));

describe('every boundary bites', () => {
  let dir = '';
  let found: Diagnostic[] = [];

  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'berth-lint-'));
    cpSync(join(root, 'tools/lint'), join(dir, 'tools/lint'), {
      recursive: true,
      filter: (path) => !path.endsWith('.ts'),
    });
    // Each case is a tree of its own below the root, so the globs of the overrides must match there too.
    const config = readFileSync(join(root, 'biome.json'), 'utf8').replaceAll(
      /"(!?)(libs|apps|e2e|tools)\//g,
      '"$1**/$2/',
    );
    writeFileSync(join(dir, 'biome.json'), config.replaceAll('./**/tools', './tools'));
    writeFileSync(join(dir, '.gitignore'), 'node_modules/\n');
    for (const { file, code } of planted.flatMap((each) => [...each.badFiles, ...each.cleanFiles])) {
      mkdirSync(dirname(join(dir, file)), { recursive: true });
      writeFileSync(join(dir, file), code);
    }
    const args = ['lint', '--reporter=json', '--max-diagnostics=none', '.'];
    const run = spawnSync(join(root, 'node_modules/.bin/biome'), args, {
      cwd: dir,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    expect(run.status).toBe(1);
    const report = JSON.parse(run.stdout) as { diagnostics: Diagnostic[] };
    found = report.diagnostics.filter(({ category }) => boundaryCategories.has(category));
  }, 60_000);

  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it.each(planted)('$rule', ({ says, badFiles, cleanFiles }) => {
    for (const { file } of badFiles) {
      const here = found.filter(({ location }) => location.path === file);
      expect(here.map(({ severity, message }) => `${file}: ${severity} ${message}`).join('\n')).toContain(says);
      for (const { severity } of here) expect(severity).toBe('error');
    }
    const clean = new Set(cleanFiles.map(({ file }) => file));
    expect(found.filter(({ location }) => clean.has(location.path))).toEqual([]);
  });

  it('names a remedy in every message', () => {
    for (const { category, message } of found) if (category === 'plugin') expect(message).toContain('Remedy:');
    const config = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8')) as { overrides: unknown[] };
    const messages = [...JSON.stringify(config).matchAll(/"deniedGlobals":(\{.*?\})/g)].flatMap(([, list]) =>
      Object.values(JSON.parse(list ?? '{}') as Record<string, string>),
    );
    expect(messages.length).toBeGreaterThan(10);
    for (const message of messages) expect(message).toContain('Remedy:');
  });
});
