import type { Lab } from '@berth/testing-hosts';
import { createLab } from '@berth/testing-hosts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DockerCalls } from './docker-calls.ts';
import { DockerNetworks } from './docker-networks.ts';

let lab: Lab;

beforeAll(async () => {
  lab = await createLab({ hosts: 0 });
}, 60_000);

afterAll(() => lab.down());

test.each([
  { dockerdArgs: ['--ip', '127.0.0.1'], address: '127.0.0.1' },
  { dockerdArgs: [], address: '<no value>' },
])('a network publishes where the engine does: $dockerdArgs', async ({ dockerdArgs, address }) => {
  const host = await lab.addHost({ dockerdArgs });
  const networks = new DockerNetworks(new DockerCalls({ socketPath: host.socket }), 'cluster1');
  const [subnet, gateway] = ['198.18.200.0/26', '198.18.200.1'];
  await networks.create({ name: 'n', bridge: 'b0', subnet, gateway, labels: {}, options: {} });
  const format = '{{index .Options "com.docker.network.bridge.host_binding_ipv4"}}';
  const shown = await host.docker(['network', 'inspect', '--format', format, 'n']);
  expect(shown.trim() || '<no value>').toBe(address);
});
