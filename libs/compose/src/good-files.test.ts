import { readFileSync } from 'node:fs';
import { StackSpec } from '@berth/contracts/workload';
import { expect, test } from 'vitest';
import { goodFiles as readGoodFiles } from './testing/good/good.ts';
import { loadGood } from './testing/load.ts';

const goodFiles = readGoodFiles((url) => readFileSync(url, 'utf8'));

/** What a reader of the file would say it means. */
function summary({ name, services, networks, volumes }: StackSpec) {
  return {
    name,
    networks: networks.map((network) => network.name),
    volumes: volumes.map((volume) => volume.name),
    services: services.map((service) => {
      const count = service.mode?.$case === 'replicated' ? service.mode.value.replicas : 'global';
      const ports = service.ports.map((port) => `${port.hostIp}:${port.published}:${port.target}`).join(' ');
      const serves = service.expose.map((port) => port.port).join(' ');
      const waits = service.dependsOn.map((dependency) => `${dependency.service}=${dependency.condition}`).join(' ');
      const on = service.networks.map(({ network, aliases }) => [network, ...aliases].join('/')).join(' ');
      return `${service.name} x${count} ports[${ports}] serves[${serves}] waits[${waits}] on[${on}] restart ${service.restart?.condition}`;
    }),
  };
}

const expected: Record<string, ReturnType<typeof summary>> = {
  wordpress: {
    name: 'shop',
    networks: ['default'],
    volumes: ['db_data', 'wp_content'],
    services: [
      'db x1 ports[] serves[] waits[] on[default] restart 3',
      'wordpress x1 ports[:8000:80] serves[80] waits[db=2] on[default] restart 3',
    ],
  },
  guestbook: {
    name: 'guestbook',
    networks: ['default'],
    volumes: ['data'],
    services: [
      'redis x1 ports[] serves[] waits[] on[default] restart 3',
      'web x2 ports[:8080:8080] serves[8080] waits[redis=2] on[default] restart 3',
    ],
  },
  'voting-app': {
    name: 'shop',
    networks: ['back-tier', 'front-tier'],
    volumes: ['db-data'],
    services: [
      'db x1 ports[] serves[] waits[] on[back-tier] restart 3',
      'redis x1 ports[] serves[] waits[] on[back-tier] restart 3',
      'result x1 ports[:5001:80 127.0.0.1:9229:9229] serves[80 9229] waits[db=2] on[back-tier front-tier/results] restart 3',
      'vote x1 ports[:5000:80] serves[80] waits[redis=1] on[back-tier front-tier] restart 3',
      'worker x2 ports[] serves[] waits[db=2 redis=2] on[back-tier] restart 2',
    ],
  },
  chain: {
    name: 'shop',
    networks: ['default'],
    volumes: [],
    services: [
      'migrate x1 ports[] serves[] waits[redis=2] on[default] restart 1',
      'redis x1 ports[] serves[] waits[] on[default] restart 3',
      'web x1 ports[] serves[8080] waits[migrate=3] on[default] restart 3',
    ],
  },
  'host-network': {
    name: 'berth',
    networks: [],
    volumes: [],
    services: [
      'bootstrap x1 ports[] serves[] waits[etcd=2] on[] restart 2',
      'etcd x1 ports[] serves[2379] waits[] on[] restart 3',
      'scheduler x1 ports[] serves[7401] waits[bootstrap=3] on[] restart 3',
    ],
  },
};

test.each(goodFiles)('$name means what it says', ({ name, text, options }) => {
  const { spec } = loadGood(text, options);
  expect(summary(spec)).toEqual(expected[name]);
});

test.each(goodFiles)('$name survives the wire', ({ text, options }) => {
  const { spec } = loadGood(text, options);
  const bytes = StackSpec.encode(spec).finish();
  expect(StackSpec.encode(StackSpec.decode(bytes)).finish()).toEqual(bytes);
});

test.each(goodFiles)('$name merged over itself changes nothing', ({ text, options }) => {
  expect(loadGood([text, text], options).spec).toEqual(loadGood(text, options).spec);
});

test('a command over several lines is split as a shell would', () => {
  const chain = goodFiles.find(({ name }) => name === 'chain')!;
  const migrate = loadGood(chain.text).spec.services.find(({ name }) => name === 'migrate');
  expect(migrate?.container?.command?.values).toEqual(['sh', '-c', '\n  echo migrating &&\n  ./migrate --all\n']);
});

test('variables reach the image, the environment and the mounts', () => {
  const wordpress = goodFiles.find(({ name }) => name === 'wordpress')!;
  const { services } = loadGood(wordpress.text, wordpress.options).spec;
  expect(services[0]?.container?.environment['MYSQL_PASSWORD']).toBe('pa$$word');
  expect(services[1]?.container?.image).toBe('wordpress:6.4-apache');
  expect(services[1]?.container?.mounts[1]).toMatchObject({ source: '/srv/shop/uploads.ini', readOnly: true });
});
