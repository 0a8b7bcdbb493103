import { beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from './cluster.ts';
import { sharedCluster } from './cluster.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await sharedCluster();
});

const web = (lines: string) => `services:\n  web:\n    image: busybox\n${lines}`;

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: Compose's own variables
/** What is wrong, the file, and the line and key that must be named. */
const bad: [what: string, text: string, line: number, key: string][] = [
  ['syntax', 'services:\n  web: [\n', 3, ''],
  ['a tab', 'services:\n\tweb: {}\n', 2, ''],
  ['a duplicate key', web('    image: other\n'), 4, 'image'],
  ['an unknown key', web('    imagee: x\n'), 4, 'imagee'],
  ['a key that is not supported', web('    privileged: true\n'), 4, 'privileged'],
  ['an unknown top-level key', `${web('')}service: {}\n`, 4, 'service'],
  ['an unknown key under x-berth', web('    x-berth: { nope: 1 }\n'), 4, 'nope'],
  ['a wrong type', web('    ports: 80\n'), 4, 'ports'],
  ['no image', 'services:\n  web:\n    command: x\n', 2, 'web'],
  ['a network that is not declared', web('    networks: [back]\n'), 4, 'networks'],
  ['a volume that is not declared', web('    volumes: ["data:/data"]\n'), 4, 'volumes'],
  ['a dependency that is not declared', web('    depends_on: [db]\n'), 4, 'depends_on'],
  ['a cycle', `${web('    depends_on: [b]\n')}  b:\n    image: busybox\n    depends_on: [web]\n`, 4, 'depends_on'],
  ['an unset variable', 'services:\n  web:\n    image: ${NOT_SET_ANYWHERE}\n', 3, 'image'],
  ['a required variable', 'services:\n  web:\n    image: ${NOT_SET_ANYWHERE:?say which}\n', 3, 'image'],
  ['a bad port', web('    ports: ["99999:80"]\n'), 4, 'ports'],
  ['a bad port range', web('    ports: ["8000-8002:80-81"]\n'), 4, 'ports'],
  ['one host port twice', web('    ports: ["8080:80", "8080:81"]\n'), 4, 'ports'],
  [
    'more reserved than allowed',
    web('    deploy:\n      resources:\n        limits: { memory: 10M }\n        reservations: { memory: 20M }\n'),
    7,
    'memory',
  ],
  ['negative replicas', web('    deploy: { replicas: -1 }\n'), 4, 'replicas'],
  ['replicas of a global service', web('    deploy: { mode: global, replicas: 2 }\n'), 4, 'replicas'],
  [
    'a bad constraint',
    web('    deploy: { placement: { constraints: ["node.rolle == manager"] } }\n'),
    4,
    'constraints',
  ],
  ['a bad duration', web('    stop_grace_period: soon\n'), 4, 'stop_grace_period'],
  ['a bad restart policy', web('    restart: sometimes\n'), 4, 'restart'],
  ['an env_file that is not there', web('    env_file: nowhere.env\n'), 4, 'env_file'],
];
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: Compose's own variables

describe('bad Compose files', () => {
  it.each(bad)('%s: file, line, key and remedy, exit code 2', async (_, text, line, key) => {
    const path = cluster.compose('bad', text);
    const { code, stdout, stderr } = await cluster.tryBerth(['up', '-f', path, '-p', 'bad']);
    expect(stderr).toContain(`${path}:${line}:`);
    expect(stderr).toContain(key);
    expect(stderr).toMatch(/remedy: \S+/u);
    expect(code).toBe(2);
    expect(stdout).toBe('');
  });

  it('of all these nothing was applied', async () => {
    const stacks = await cluster.json<{ name: string }[]>(['stacks']);
    expect(stacks).not.toContainEqual(expect.objectContaining({ name: 'bad' }));
  });

  it('a constraint that no node meets: pending with the reason, exit code 3', async () => {
    const text = web('    deploy: { placement: { constraints: ["node.labels.disk == ssd"] } }\n');
    const { code, stderr } = await cluster.tryBerth([
      'up',
      '-f',
      cluster.compose('far', text),
      '-p',
      'far',
      '--timeout',
      '3s',
    ]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/web\.1: pending: .*constraint/u);
    expect(await cluster.berth(['why', 'far_web.1'])).toMatch(/constraint.*1 of 1/u);
    await cluster.berth(['down', 'far']);
  });

  it('resources that no node has: pending with the numbers', async () => {
    const text = web('    deploy: { resources: { reservations: { memory: 900G } } }\n');
    const { code, stderr } = await cluster.tryBerth([
      'up',
      '-f',
      cluster.compose('big', text),
      '-p',
      'big',
      '--timeout',
      '3s',
    ]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/memory/u);
    await cluster.berth(['down', 'big']);
  });
});
