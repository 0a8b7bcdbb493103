import { describe, expect, test } from 'vitest';
import { load, loadGood, serviceOf } from './testing/load.ts';

const base = `
services:
  web:
    image: nginx
    command: [a, b]
    environment: [A=1, B=2]
    labels: {x: "1"}
    ports: ["8080:80", "127.0.0.1:9000:90"]
    volumes: ["data:/data", "./conf:/etc/conf:ro"]
    depends_on: [db]
    networks: [front]
    extra_hosts: {db.example: 192.0.2.1}
    cap_add: [NET_ADMIN]
    tmpfs: /run
    healthcheck: {test: [CMD, a], interval: 5s}
    deploy: {replicas: 2, placement: {constraints: [node.role == worker]}}
  db: {image: postgres}
networks: {front: {}, back: {}}
volumes: {data: {}, other: {}}
`;

const over = (lines: string) => serviceOf([base, `services:\n  web:\n${lines.replaceAll(/^/gm, '    ')}\n`]);

describe('a later file', () => {
  test('replaces single values and commands', () => {
    const web = over('image: caddy\ncommand: run it\nhealthcheck: {test: [CMD, b]}');
    expect(web.container.image).toBe('caddy');
    expect(web.container.command?.values).toEqual(['run', 'it']);
    expect(web.container.healthcheck).toMatchObject({ test: ['CMD', 'b'], intervalMs: 5000 });
  });

  test('merges maps, whichever way both are written', () => {
    const web = over('environment: {B: three, C: 4}\nlabels: [y=2]\nextra_hosts: ["b.example=192.0.2.2"]');
    expect(web.container.environment).toEqual({ A: '1', B: 'three', C: '4' });
    expect(web.container.labels).toEqual({ x: '1', y: '2' });
    expect(web.container.extraHosts).toEqual(['db.example:192.0.2.1', 'b.example:192.0.2.2']);
  });

  test('takes a variable without value from the shell', () => {
    expect(over('environment: {A: }').container.environment).toEqual({ B: '2' });
  });

  test('adds ports, and replaces none that is the same', () => {
    const web = over('ports: [{target: 80, published: 8080}, "81:81"]');
    expect(web.ports.map((port) => `${port.hostIp}:${port.published}:${port.target}`)).toEqual([
      ':8080:80',
      '127.0.0.1:9000:90',
      ':81:81',
    ]);
  });

  test('replaces a mount of the same target', () => {
    const web = over('volumes: ["other:/data", {type: tmpfs, target: /cache}]\ntmpfs: [/tmp]');
    expect(web.container.mounts.map(({ source, target }) => [source, target])).toEqual([
      ['other', '/data'],
      ['/srv/shop/conf', '/etc/conf'],
      ['', '/cache'],
      ['', '/run'],
      ['', '/tmp'],
    ]);
  });

  test('joins the list and the map form of depends_on and networks', () => {
    const web = over('depends_on: {db: {condition: service_healthy}}\nnetworks: {back: {aliases: [www]}}');
    expect(web.dependsOn).toEqual([{ service: 'db', condition: 2 }]);
    expect(web.networks).toEqual([
      { network: 'back', aliases: ['www'] },
      { network: 'front', aliases: [] },
    ]);
  });

  test('adds to other lists, each item once', () => {
    const web = over('cap_add: [SYS_TIME, NET_ADMIN]\ndeploy: {placement: {constraints: [node.id != x]}}');
    expect(web.container.capAdd).toEqual(['NET_ADMIN', 'SYS_TIME']);
    expect(web.constraints).toEqual(['node.role == worker', 'node.id != x']);
  });

  test('says nothing by an empty value', () => {
    expect(over('ports:\nimage:\ncommand:')).toEqual(serviceOf(base));
  });

  test('takes away with !reset', () => {
    const web = over('ports: !reset []\nenvironment: {A: !reset null}\ncommand: !reset null');
    expect(web.ports).toEqual([]);
    expect(web.container.environment).toEqual({ B: '2' });
    expect(web.container.command).toBeUndefined();
  });

  test('replaces whole with !override', () => {
    const web = over('ports: !override ["1:1"]\nenvironment: !override {Z: z}');
    expect(web.ports).toHaveLength(1);
    expect(web.container.environment).toEqual({ Z: 'z' });
  });

  test('may add services and networks', () => {
    const { spec } = loadGood([base, 'services: {job: {image: x, networks: [late]}}\nnetworks: {late: {}}']);
    expect(spec.services.map(({ name }) => name)).toEqual(['db', 'job', 'web']);
    expect(spec.networks.map(({ name }) => name)).toEqual(['default', 'front', 'late']);
  });

  test('is the file that a problem names', () => {
    const result = load([base, 'services:\n  web:\n    ports: ["80000:80"]\n']);
    if (result.ok) throw new Error('was accepted');
    expect(result.problems).toMatchObject([{ file: 'over-1.yaml', line: 3, column: 13, key: 'services.web.ports[2]' }]);
  });

  test('may not give a list where the first has a map', () => {
    const result = load([base, 'services:\n  web:\n    healthcheck: [CMD, x]\n']);
    if (result.ok) throw new Error('was accepted');
    expect(result.problems[0]).toMatchObject({ file: 'over-1.yaml', line: 3, key: 'services.web.healthcheck' });
    expect(result.problems[0]?.message).toMatch(/cannot be merged into a map of compose\.yaml:15/);
    expect(result.problems[0]?.remedy).toMatch(/!override/);
  });
});

test('a file merged over itself changes nothing', () => {
  expect(loadGood([base, base]).spec).toEqual(loadGood(base).spec);
});

test('a published port of the first file that the second takes for another service is named with both places', () => {
  const result = load([base, 'services:\n  app: {image: x, ports: ["8080:1"]}\n']);
  if (result.ok) throw new Error('was accepted');
  expect(result.problems).toMatchObject([{ file: 'compose.yaml', line: 8 }]);
  expect(result.problems[0]?.message).toMatch(/published by "app" on over-1\.yaml:2/);
});
