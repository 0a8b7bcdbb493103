// apply-client.ts UP.yaml ZERO.yaml: connects, says `ready`, then for each line read, `up` or `zero`, applies that file and
// says the word again once it is accepted.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { loadStack, renderProblems } from '@berth/compose';
import { rpc } from '@berth/contracts';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import { createDialer, memoryTls } from '@berth/rpc';

const [upFile = '', zeroFile = ''] = process.argv.slice(2);
const config = process.env['BERTH_CONFIG_DIR'] ?? '';
const context = join(config, 'contexts', readFileSync(join(config, 'current'), 'utf8').trim());
const read = (file: string): string => readFileSync(join(context, file), 'utf8');
const { registries } = JSON.parse(read('context.json')) as { registries: readonly string[] };

const specs = { up: specOf(upFile), zero: specOf(zeroFile) };
const dialer = createDialer({
  clock: new SystemClock(),
  rng: new SystemRng(),
  logger: silentLogger,
  tls: memoryTls({ cert: read('cert.pem'), key: read('key.pem'), ca: read('ca.pem') }),
});
const service = (name: string, addresses: readonly string[]) => ({
  identity: { role: 'service' as const, name },
  addresses: () => addresses,
});
const { members } = await dialer.client(rpc.catalog, service('registry', registries)).listMembers({});
const schedulers = members.filter(({ identity }) => identity === 'service:scheduler').map(({ address }) => address);
const control = dialer.client(rpc.control, service('scheduler', schedulers));
await control.listStacks({});
console.log('ready');
for await (const word of createInterface({ input: process.stdin })) {
  if (word !== 'up' && word !== 'zero') throw new Error(`unknown word: ${word}`);
  await control.applyStack({ spec: specs[word] });
  console.log(word);
}
dialer.close();

function specOf(file: string) {
  const loaded = loadStack({
    files: [{ path: file, text: readFileSync(file, 'utf8') }],
    env: {},
    readFile: () => undefined,
    workingDir: '/',
    namespace: 'default',
  });
  if (!loaded.ok) throw new Error(renderProblems(loaded.problems));
  return loaded.spec;
}
