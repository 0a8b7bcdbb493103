// Lists the tasks of a cluster, then shows every change of them. Run it with a certificate of its own:
//   npx berth certificate issue reader example --out ./example
//   node examples/grpc-client/src/main.ts ./example 127.0.0.1:7401 [CHANGES]
// With CHANGES, it ends after so many of them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { helloOf, rpc } from '@berth/contracts';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import { createDialer, memoryTls } from '@berth/rpc';
import { effectiveState, stateName } from '@berth/workload';

const [folder, registry, changesText] = process.argv.slice(2);
if (folder === undefined || registry === undefined) {
  console.error('usage: main.ts FOLDER_WITH_CERTIFICATE REGISTRY_ADDRESS [CHANGES]');
  process.exit(2);
}
const changesWanted = changesText === undefined ? Number.POSITIVE_INFINITY : Number(changesText);
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

const dialer = createDialer({
  tls: memoryTls({ cert: read('cert.pem'), key: read('key.pem'), ca: read('ca.pem') }),
  clock: new SystemClock(),
  rng: new SystemRng(),
  logger: silentLogger,
});
// A registry knows where everything else is; a server is verified by its identity, whatever its address.
const catalog = dialer.client(rpc.catalog, {
  identity: { role: 'service', name: 'registry' },
  addresses: () => [registry],
});
const { members, clusterId } = await catalog.listMembers({});
const schedulers = members.filter((member) => member.identity === 'service:scheduler').map((member) => member.address);
const control = dialer.client(rpc.control, {
  identity: { role: 'service', name: 'scheduler' },
  addresses: () => schedulers,
});

const { tasks, revision } = await control.listTasks({});
for (const { task, status } of tasks) {
  if (task) console.log(`${task.stack} ${task.service}.${task.slot} ${stateName(effectiveState(task, status))}`);
}

// From the revision of the list on: nothing is missed and nothing comes twice.
const enough = new AbortController();
let seen = 0;
try {
  const steps = control.watch({ hello: helloOf(clusterId, 'example'), since: revision }, { signal: enough.signal });
  for await (const step of steps) {
    for (const { key, resource } of step.changes) {
      if (!key.startsWith('task/')) continue;
      const view = resource?.$case === 'task' ? resource.value : undefined;
      const state = view?.task ? stateName(effectiveState(view.task, view.status)) : 'gone';
      console.log(`change ${step.revision?.revision} ${key} ${state}`);
      seen += 1;
      if (seen >= changesWanted) enough.abort();
    }
  }
} catch (error) {
  if (!enough.signal.aborted) throw error;
}
dialer.close();
