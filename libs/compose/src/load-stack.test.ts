import { StackSpec } from '@berth/contracts/workload';
import { describe, expect, test } from 'vitest';
import { loadStack, stackNameFrom } from './index.ts';
import { load, loadGood, serviceOf } from './testing/load.ts';

const one = (lines: string) => `services:\n  web:\n    image: nginx\n${lines.replaceAll(/^/gm, '    ')}\n`;
const container = (lines: string, options = {}) => serviceOf(one(lines), 'web', options).container;

test('the same file always encodes to the same bytes, whatever the order of its keys', () => {
  const bytes = (text: string) => Buffer.from(StackSpec.encode(loadGood(text).spec).finish()).toString('hex');
  const first = bytes(
    'services: {a: {image: x, environment: {B: 1, A: 2}}, b: {image: y, networks: [n, m]}}\nnetworks: {m: , n: }',
  );
  const second = bytes(
    'networks: {n: , m: }\nservices: {b: {networks: {m: , n: }, image: y}, a: {environment: [A=2, B=1], image: x}}',
  );
  expect(first).toBe(second);
});

describe('networks', () => {
  test('"default" exists only if a service is on it', () => {
    expect(loadGood('services: {a: {image: x}}').spec.networks.map(({ name }) => name)).toEqual(['default']);
    expect(loadGood('services: {a: {image: x, network_mode: none}}').spec.networks).toEqual([]);
    expect(loadGood('services: {a: {image: x, network_mode: host}}').spec.services[0]?.networks).toEqual([]);
  });

  test('"default" may be declared with settings, unused networks are left out', () => {
    const { spec } = loadGood(
      'services: {a: {image: x}}\nnetworks: {default: {name: shared, internal: true, driver_opts: {mtu: 1400}}, unused: {}}',
    );
    expect(spec.networks).toEqual([
      { name: 'default', externalName: 'shared', internal: true, driverOpts: { mtu: '1400' } },
    ]);
  });

  test('with network_mode: host exposed ports are kept for placement', () => {
    expect(serviceOf(one('network_mode: host\nexpose: [80, "53/udp"]')).expose).toEqual([
      { port: 53, protocol: 2 },
      { port: 80, protocol: 1 },
    ]);
  });
});

describe('ports', () => {
  const ports = (list: string) =>
    serviceOf(one(`ports: ${list}`)).ports.map((port) => [port.hostIp, port.published, port.target, port.protocol]);

  test.each([
    ['[80]', [['', 0, 80, 1]]],
    ['["80/udp"]', [['', 0, 80, 2]]],
    ['["8080:80"]', [['', 8080, 80, 1]]],
    ['["127.0.0.1:8080:80/tcp"]', [['127.0.0.1', 8080, 80, 1]]],
    ['["127.0.0.1::80"]', [['127.0.0.1', 0, 80, 1]]],
    ['["[::1]:8080:80/sctp"]', [['::1', 8080, 80, 3]]],
    ['["0:80"]', [['', 0, 80, 1]]],
    [
      '["8000-8001:80-81"]',
      [
        ['', 8000, 80, 1],
        ['', 8001, 81, 1],
      ],
    ],
    [
      '["3000-3001"]',
      [
        ['', 0, 3000, 1],
        ['', 0, 3001, 1],
      ],
    ],
    ['[{target: 80}]', [['', 0, 80, 1]]],
    [
      '[{target: 80, published: "8080", protocol: udp, host_ip: 127.0.0.1, mode: host, name: a, app_protocol: http}]',
      [['127.0.0.1', 8080, 80, 2]],
    ],
    [
      '["127.0.0.1:80:80", "127.0.0.2:80:80", "80:80/udp"]',
      [
        ['127.0.0.1', 80, 80, 1],
        ['127.0.0.2', 80, 80, 1],
        ['', 80, 80, 2],
      ],
    ],
  ])('%s', (list, expected) => {
    expect(ports(list)).toEqual(expected);
  });

  test('targets count as exposed, each once', () => {
    expect(serviceOf(one('ports: ["1:80", "2:80"]\nexpose: ["80", "90-91"]')).expose.map(({ port }) => port)).toEqual([
      80, 90, 91,
    ]);
  });
});

describe('restart', () => {
  test.each([
    ['', 3, 5000, 0],
    ['restart: "no"', 1, 100, 0],
    ['restart: no', 1, 100, 0],
    ['restart: always', 3, 100, 0],
    ['restart: unless-stopped', 3, 100, 0],
    ['restart: on-failure', 2, 100, 0],
    ['restart: on-failure:3', 2, 100, 3],
    ['deploy: {restart_policy: {}}', 3, 5000, 0],
    ['deploy: {restart_policy: {condition: on-failure, delay: 1s, max_attempts: 4, window: 1m}}', 2, 1000, 4],
    ['restart: always\ndeploy: {restart_policy: {condition: none}}', 1, 5000, 0],
  ])('%j', (lines, condition, delayMs, maxAttempts) => {
    expect(serviceOf(one(lines)).restart).toMatchObject({ condition, delayMs, maxAttempts });
  });

  test('a service that another awaits to complete is not restarted unless it says so', () => {
    const waits = (job: string) =>
      `services: {web: {image: x, depends_on: {job: {condition: service_completed_successfully}}}, job: {image: y${job}}}`;
    expect(serviceOf(waits(''), 'job').restart?.condition).toBe(1);
    expect(serviceOf(waits(', restart: on-failure'), 'job').restart?.condition).toBe(2);
    expect(serviceOf(waits(''), 'web').restart?.condition).toBe(3);
  });
});

describe('mounts', () => {
  const mounts = (lines: string, options = {}) =>
    serviceOf(`${one(lines)}volumes: {data: {}}\n`, 'web', options).container.mounts;

  test.each([
    ['volumes: ["data:/d"]', { type: 1, source: 'data', target: '/d', readOnly: false, createHostPath: false }],
    ['volumes: ["data:/d:ro,nocopy"]', { source: 'data', readOnly: true, volumeNocopy: true }],
    ['volumes: [/d]', { type: 1, source: '', target: '/d' }],
    ['volumes: ["./d:/d"]', { type: 2, source: '/srv/shop/d', createHostPath: true, relativeSource: './d' }],
    ['volumes: ["../d:/d:rslave"]', { type: 2, source: '/srv/d', propagation: 'rslave' }],
    [
      'volumes: ["/var/run/docker.sock:/var/run/docker.sock:ro"]',
      { source: '/var/run/docker.sock', readOnly: true, relativeSource: '' },
    ],
    ['volumes: ["~/d:/d/"]', { type: 2, source: '/root/d', target: '/d', relativeSource: '~/d' }],
    [
      'volumes: [{type: bind, source: ., target: /d}]',
      { type: 2, source: '/srv/shop', createHostPath: false, relativeSource: '.' },
    ],
    [
      'volumes: [{type: bind, source: /a, target: /d, bind: {create_host_path: true, propagation: shared}}]',
      { createHostPath: true, propagation: 'shared' },
    ],
    [
      'volumes: [{type: volume, source: data, target: /d, read_only: true, volume: {nocopy: true}}]',
      { type: 1, readOnly: true, volumeNocopy: true },
    ],
    [
      'volumes: [{type: tmpfs, target: /d, tmpfs: {size: 64m, mode: 0755}}]',
      { type: 3, tmpfsSizeBytes: 67_108_864, tmpfsMode: 0o755 },
    ],
    ['tmpfs: /run', { type: 3, source: '', target: '/run' }],
    ['tmpfs: ["/run:size=1m,mode=1777,noexec"]', { type: 3, tmpfsSizeBytes: 1_048_576, tmpfsMode: 0o1777 }],
  ])('%s', (lines, expected) => {
    expect(mounts(lines, { env: { HOME: '/root' } })).toMatchObject([expected]);
  });

  test('volumes that nobody uses are left out', () => {
    const { spec } = loadGood(
      `${one('volumes: ["data:/d"]')}volumes:\n  data: {name: d, driver: local, driver_opts: {type: nfs}, labels: [a=b]}\n  unused: {}\n`,
    );
    expect(spec.volumes).toEqual([
      { name: 'data', driver: 'local', driverOpts: { type: 'nfs' }, labels: { a: 'b' }, externalName: 'd' },
    ]);
  });

  test('SELinux letters are said to have no effect', () => {
    const { warnings } = loadGood(one('volumes: ["./a:/a:Z"]'));
    expect(warnings).toMatchObject([{ line: 4, key: 'services.web.volumes[0]', message: /SELinux/ }]);
  });
});

describe('environment', () => {
  const files: Record<string, string> = { '/srv/shop/a.env': 'A=1\nB=$A\nC="x y"\n', '/srv/shop/b.env': 'B=2\nD=$5' };
  const readFile = (path: string) => files[path];

  test('env_file in order, environment over it, the shell for names without value', () => {
    const lines =
      'env_file: [a.env, {path: ./b.env, format: raw}, {path: none.env, required: false}]\nenvironment: {C: 3, SHELL: , GONE: , T: true, N: 1.10}';
    expect(container(lines, { readFile, env: { SHELL: 'sh' } }).environment).toEqual({
      A: '1',
      B: '2',
      C: '3',
      D: '$5',
      N: '1.10',
      SHELL: 'sh',
      T: 'true',
    });
  });

  test('a number that YAML would rewrite is passed on as written, with a warning', () => {
    const result = loadGood(one('environment: {MODE: 0755, BIG: 12345678901234567890}'));
    expect(result.spec.services[0]?.container?.environment).toEqual({ BIG: '12345678901234567890', MODE: '0755' });
    expect(result.warnings).toHaveLength(2);
  });

  test('an env_file in the home of the caller', () => {
    const paths: string[] = [];
    const readFile = (path: string) => {
      paths.push(path);
      return 'A=1\n';
    };
    expect(load(one('env_file: ~/e'), { readFile, env: { HOME: '/home/me' } }).ok).toBe(true);
    expect(paths).toContain('/home/me/e');
  });

  test('a problem inside an env_file names that file and line', () => {
    const result = load(one('env_file: bad.env'), { readFile: () => 'A=1\nB="x\n' });
    if (result.ok) throw new Error('was accepted');
    expect(result.problems).toMatchObject([{ file: '/srv/shop/bad.env', line: 2, column: 3, key: 'B' }]);
  });

  test('the shell wins over .env, a later .env over an earlier', () => {
    const text = one(`hostname: \${A}-\${B}-\${C}`);
    const dotenv = [
      { path: '.env', text: 'A=1\nB=1\nC=1' },
      { path: 'more.env', text: `B=2\nC=\${C}2` },
    ];
    expect(container(`hostname: \${A}-\${B}-\${C}`, { dotenv, env: { A: 'shell' } }).hostname).toBe('shell-2-12');
    expect(load(text, { dotenv: [{ path: '.env', text: 'A' }] }).ok).toBe(false);
  });
});

test('what a container is given', () => {
  const spec = container(
    `
entrypoint: ["/entry", "x"]
command: npm run "start it"
user: 1000
working_dir: /app
hostname: web.example
cap_add: [cap_net_admin, ALL]
cap_drop: [MKNOD]
read_only: yes
init: \${INIT}
sysctls: [net.core.somaxconn=1024]
ulimits: {nproc: 10, nofile: {soft: 1, hard: -1}}
extra_hosts: ["a.example:192.0.2.1", "b=::1", "c=[::2]", "host.docker.internal:host-gateway"]
labels: {on: true, empty: }
stop_signal: usr1
stop_grace_period: 1m
healthcheck: {test: curl -f localhost, interval: 10s, timeout: 1s, retries: 5, start_period: 1m}`,
    { env: { INIT: 'true' } },
  );
  expect(spec).toMatchObject({
    entrypoint: { values: ['/entry', 'x'] },
    command: { values: ['npm', 'run', 'start it'] },
    user: '1000',
    workingDir: '/app',
    hostname: 'web.example',
    capAdd: ['ALL', 'NET_ADMIN'],
    capDrop: ['MKNOD'],
    readOnly: true,
    init: true,
    sysctls: { 'net.core.somaxconn': '1024' },
    ulimits: [
      { name: 'nofile', soft: 1, hard: -1 },
      { name: 'nproc', soft: 10, hard: 10 },
    ],
    extraHosts: ['a.example:192.0.2.1', 'b:::1', 'c:::2', 'host.docker.internal:host-gateway'],
    labels: { empty: '', on: 'true' },
    stopSignal: 'SIGUSR1',
    stopGracePeriodMs: 60_000,
    healthcheck: {
      disable: false,
      test: ['CMD-SHELL', 'curl -f localhost'],
      intervalMs: 10_000,
      timeoutMs: 1000,
      retries: 5,
      startPeriodMs: 60_000,
    },
  });
});

test('absent, null and empty commands differ', () => {
  expect(container('').command).toBeUndefined();
  expect(container('command:').command).toBeUndefined();
  expect(container('command: []').command).toEqual({ values: [] });
  expect(container('entrypoint: ""').entrypoint).toEqual({ values: [] });
});

test('replicas that take one host port are pointed out', () => {
  expect(loadGood(one('scale: 2\nports: ["8080:80"]')).warnings).toMatchObject([
    { line: 5, message: /node of its own/ },
  ]);
  expect(loadGood(one('scale: 2\nports: ["80"]')).warnings).toEqual([]);
  expect(loadGood(one('network_mode: host\nexpose: ["80", 80]')).warnings).toEqual([]);
});

test('a health check whose arguments no shell reads is pointed out', () => {
  const text = one('healthcheck: {test: [CMD-SHELL, pg_isready, -U, postgres]}');
  expect(loadGood(text).warnings).toMatchObject([{ line: 4, message: /only the first text/ }]);
});

test('a shell operator in a command is pointed out', () => {
  expect(loadGood(one('command: a && b')).warnings).toMatchObject([{ line: 4, message: /"&&"/ }]);
});

test.each([
  ['healthcheck: {disable: true}', true],
  ['healthcheck: {test: NONE}', false],
  ['healthcheck: {test: [NONE]}', true],
])('%s', (lines, disable) => {
  expect(container(lines).healthcheck?.disable).toBe(disable);
});

test('deploy', () => {
  const service = serviceOf(
    one(`deploy:
  mode: replicated
  replicas: "3"
  labels: [tier=front]
  resources: {limits: {cpus: "0.50", memory: 50M}, reservations: {cpus: 0.25, memory: 20m}}
  placement: {constraints: ["node.labels.disk==ssd", "node.role!=manager", "node.platform.arch == x86_64"]}`),
  );
  expect(service).toMatchObject({
    mode: { $case: 'replicated', value: { replicas: 3 } },
    labels: { tier: 'front' },
    limits: { cpuMillis: 500, memoryBytes: 52_428_800 },
    reservations: { cpuMillis: 250, memoryBytes: 20_971_520 },
    constraints: ['node.labels.disk == ssd', 'node.role != manager', 'node.platform.arch == x86_64'],
  });
  expect(serviceOf(one('deploy: {mode: global}')).mode).toEqual({ $case: 'global', value: {} });
  expect(serviceOf(one('scale: 0')).mode).toEqual({ $case: 'replicated', value: { replicas: 0 } });
});

describe('profiles', () => {
  const text = `
services:
  web: {image: x, depends_on: {debug: {condition: service_started, required: false}}}
  debug: {image: "\${UNSET}", build: ., profiles: [debug, "on.call"]}
`;
  const names = (options = {}) =>
    loadGood(text.replace(/"\$\{UNSET\}", build: \./, 'y'), options).spec.services.map(({ name }) => name);

  test('a service of an inactive profile is left out, with whatever is wrong with it', () => {
    expect(loadGood(text).spec.services).toMatchObject([{ name: 'web', dependsOn: [] }]);
    const active = load(text, { profiles: ['debug'] });
    if (active.ok) throw new Error('was accepted');
    expect(active.problems.map(({ key }) => key)).toEqual(['services.debug.image', 'services.debug.build']);
  });

  test('profiles come from the caller, else from COMPOSE_PROFILES', () => {
    expect(names()).toEqual(['web']);
    expect(names({ profiles: ['on.call'] })).toEqual(['debug', 'web']);
    expect(names({ profiles: ['*'] })).toEqual(['debug', 'web']);
    expect(names({ env: { COMPOSE_PROFILES: 'a, debug' } })).toEqual(['debug', 'web']);
    expect(names({ env: { COMPOSE_PROFILES: 'debug' }, profiles: [] })).toEqual(['web']);
  });

  test('an optional dependency that is in the stack is waited for', () => {
    const result = loadGood(text.replace(/"\$\{UNSET\}", build: \./, 'y'), { profiles: ['debug'] });
    expect(result.spec.services[1]?.dependsOn).toEqual([{ service: 'debug', condition: 1 }]);
    expect(result.warnings).toMatchObject([{ line: 3, message: /waited for as if required/ }]);
  });
});

describe('YAML', () => {
  test('anchors, aliases and merge keys', () => {
    const text = `
x-env: &env {A: 1, B: 2}
x-base: &base
  image: nginx
  restart: always
services:
  web:
    <<: *base
    restart: "no"
    environment: {<<: [*env, {B: 3, C: 4}], A: 0}
  app: {<<: *base, hostname: &name app}
  job: {image: x, hostname: *name}
`;
    expect(serviceOf(text)).toMatchObject({
      container: { environment: { A: '0', B: '2', C: '4' } },
      restart: { condition: 1 },
    });
    expect(serviceOf(text, 'job').container.hostname).toBe('app');
  });

  test('x- keys are left alone at every level, even with variables that are not set', () => {
    const text = `x-a: $NOPE\nservices:\n  web:\n    image: x\n    x-b: [$NOPE]\n    deploy: {x-c: 1}\n    x-berth: {}\nnetworks: {default: {x-d: $NOPE}}\n`;
    expect(loadGood(text).warnings).toEqual([]);
  });

  test('an x- label is no extension', () => {
    expect(container(`labels: {x-a: $A}`, { env: { A: '1' } }).labels).toEqual({ 'x-a': '1' });
    expect(load(one('labels: {x-a: $A}')).ok).toBe(false);
  });

  test.each([
    ['brackets', `a: ${'['.repeat(100_000)}`],
    ['maps', Array.from({ length: 1500 }, (_, index) => `${' '.repeat(index)}a:`).join('\n')],
    ['dashes', '- '.repeat(10_000)],
  ])('thousands of nested %s are refused', (_, text) => {
    expect(load(text)).toMatchObject({ ok: false, problems: [{ message: /nested too deeply/, remedy: /64 levels/ }] });
  });

  test('thousands of aliases of aliases are refused, not expanded', () => {
    const lines = ['x-a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level < 9; level += 1) {
      lines.push(`x-a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ')}]`);
    }
    const result = load(`${lines.join('\n')}\nservices: {web: {image: x}}`);
    expect(result).toMatchObject({ ok: false, problems: [{ message: /more than 200000 values/ }] });
  });
});

describe('the name of the stack', () => {
  const name = (text: string, options = {}) => loadGood(text, options).spec.name;
  const plain = 'services: {web: {image: x}}';

  test('-p, then COMPOSE_PROJECT_NAME, then name:, then the folder', () => {
    const env = { COMPOSE_PROJECT_NAME: 'from-env' };
    expect(name(`name: from-file\n${plain}`, { env, projectName: 'from-option' })).toBe('from-option');
    expect(name(`name: from-file\n${plain}`, { env })).toBe('from-env');
    expect(name(`name: from-file\n${plain}`)).toBe('from-file');
    expect(name(plain, { workingDir: '/home/me/_My Shop.v2/' })).toBe('myshopv2');
    expect(stackNameFrom({ env: {}, workingDir: '/' })).toEqual({ name: '', origin: 'folder' });
  });

  test('may be made of variables and is one itself', () => {
    const text = `name: shop-\${STAGE}\nservices: {web: {image: x, hostname: $COMPOSE_PROJECT_NAME}}`;
    expect(serviceOf(text, 'web', { env: { STAGE: 'test' } }).container.hostname).toBe('shop-test');
  });

  test('the last file that gives one wins', () => {
    expect(loadGood([`name: a\n${plain}`, 'name: b']).spec.name).toBe('b');
  });
});

test('no file, a bad namespace and a stack over 1 MiB are refused', () => {
  expect(loadStack({ files: [], env: {}, workingDir: '/' })).toMatchObject({ ok: false });
  expect(load('services: {web: {image: x}}', { namespace: 'No' })).toMatchObject({ ok: false });
  const services = Array.from({ length: 5 }, (_, index) => `  s${index}: {image: x, env_file: big.env}`).join('\n');
  const readFile = () => `A=${'x'.repeat(300_000)}`;
  const result = load(`services:\n${services}\n`, { readFile });
  expect(result).toMatchObject({ ok: false, problems: [{ message: /more than 1 MiB/ }] });
});

test('variables are filled in below services, networks and volumes whose names start with x-', () => {
  for (const text of [
    'services: {x-web: {image: a, environment: {A: $NOPE}}}',
    'services: {web: {image: a, networks: {x-n: {aliases: [$NOPE]}}}}\nnetworks: {x-n: }',
    'services: {web: {image: a}}\nvolumes: {x-v: {labels: {a: $NOPE}}}',
  ]) {
    expect(load(text)).toMatchObject({ ok: false, problems: [{ message: 'the variable NOPE is not set' }] });
  }
});

test('a tmpfs larger than a number can say is a problem, not a crash', () => {
  const result = load('services:\n  web:\n    image: a\n    tmpfs: /x:size=99999999999p\n');
  expect(result).toMatchObject({ ok: false, problems: [{ line: 4, key: 'services.web.tmpfs' }] });
});

test('nothing is mounted over / however it is spelled', () => {
  for (const volume of ['d://', '/.', '/h:/a/..']) {
    const result = load(`services: {web: {image: a, volumes: ["${volume}"]}}\nvolumes: {d: }`);
    expect(result).toMatchObject({ ok: false, problems: [{ message: 'nothing can be mounted over /' }] });
  }
});

test('what follows an exposed port or a tmpfs option is not dropped', () => {
  for (const key of ['expose: ["80/tcp/udp"]', 'tmpfs: /x:ro=no', 'tmpfs: /x:size=1m=2', 'tmpfs: /x:nodev=1']) {
    expect(load(`services:\n  web:\n    image: a\n    ${key}\n`)).toMatchObject({ ok: false, problems: [{ line: 4 }] });
  }
});

test('a bad profile is said although its service is left out', () => {
  const result = load('services:\n  a: {image: a}\n  web:\n    image: a\n    profiles: [my profile]\n');
  expect(result).toMatchObject({ ok: false, problems: [{ line: 5, key: 'services.web.profiles[0]' }] });
});

test('a dependency of the map form without anything under it is refused, as docker compose does', () => {
  const result = load('services:\n  db: {image: a}\n  web:\n    image: a\n    depends_on:\n      db:\n');
  expect(result).toMatchObject({ ok: false, problems: [{ line: 6, key: 'services.web.depends_on.db' }] });
});

test('a chain of dependencies may be longer than the stack is deep', () => {
  const lines = Array.from({ length: 12_000 }, (_, i) => ` s${10_000 + i}: {image: x, depends_on: [s${10_001 + i}]}\n`);
  expect(load(`services:\n${lines.join('')} s22000: {image: x}\n`)).toHaveProperty('ok');
});

test('an image is a reference that Docker takes', () => {
  for (const image of ['Nginx', 'nginx:', 'nginx:1:2', 'http://x/y', 'a//b', 'nginx@sha256:zz']) {
    const result = load(`services:\n  web:\n    image: "${image}"\n`);
    expect(result, image).toMatchObject({ ok: false, problems: [{ line: 3, key: 'services.web.image' }] });
  }
  const digest = 'a'.repeat(64);
  const good = ['a_b/c__d--e', 'Reg.example:5000/a/b:T_1.2', 'localhost/a', '[::1]:5000/a', `sha256:${digest}`];
  for (const image of [...good, `ghcr.io/o/n:1@sha256:${digest}`]) {
    expect(load(`services:\n  web:\n    image: "${image}"\n`), image).toHaveProperty('ok', true);
  }
});
