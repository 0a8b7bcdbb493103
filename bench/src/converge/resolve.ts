// resolve.ts NAME COUNT: asks the container's own resolver until NAME has COUNT addresses; prints the monotonic time in ns.
import { Resolver } from 'node:dns/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const everyMs = 20;
const [name = '', count = ''] = process.argv.slice(2);
const resolver = new Resolver({ timeout: 1_000, tries: 1 });
resolver.setServers(['127.0.0.11']);
for (;;) {
  try {
    if ((await resolver.resolve4(name)).length === Number(count)) break;
  } catch {
    // Not known yet.
  }
  await sleep(everyMs);
}
console.log(String(process.hrtime.bigint()));
