// Follows the events of a cluster with nothing but a NATS client: a durable JetStream consumer, so that an event that
// comes while this program is off is delivered later. Run it with a certificate of its own:
//   npx berth certificate issue subscriber example --out ./example
//   node examples/subscriber/src/main.ts ./example 127.0.0.1:7451 [EVENTS]
// With EVENTS, it ends after so many of them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AckPolicy, connect, DeliverPolicy } from 'nats';

/** What of a CloudEvent is used here; docs/events.md has all of it. */
interface ChangeEvent {
  readonly type: string;
  readonly subject: string;
  readonly data: {
    readonly epoch: string;
    readonly revision: number;
    readonly changes: readonly { readonly key: string }[];
  };
}

const stream = 'BERTH_SCHEDULER';
const [folder, server, eventsText] = process.argv.slice(2);
if (folder === undefined || server === undefined) {
  console.error('usage: main.ts FOLDER_WITH_CERTIFICATE NATS_ADDRESS [EVENTS]');
  process.exit(2);
}
const eventsWanted = eventsText === undefined ? Number.POSITIVE_INFINITY : Number(eventsText);
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

// NATS is verified by its name, whatever its address.
const tls = { cert: read('cert.pem'), key: read('key.pem'), ca: read('ca.pem'), servername: 'nats.service.berth' };
// A new certificate is known to NATS a second or two after it was issued.
const connection = await connect({ servers: server, tls, waitOnFirstConnect: true, ignoreAuthErrorAbort: true });
const manager = await connection.jetstreamManager({ checkAPI: false });
await manager.consumers.add(stream, {
  durable_name: 'example',
  ack_policy: AckPolicy.Explicit,
  deliver_policy: DeliverPolicy.All,
  // Nothing is sent on before the last event was acknowledged: in order, even if this program dies in between.
  max_ack_pending: 1,
});
const consumer = await connection.jetstream({ checkAPI: false }).consumers.get(stream, 'example');
let seen = 0;
while (seen < eventsWanted) {
  // Undefined when nothing came for a while.
  const message = await consumer.next();
  if (!message) continue;
  const event = message.json<ChangeEvent>();
  const keys = event.data.changes.map((change) => change.key);
  console.log(`${event.data.revision} ${event.subject} ${keys.join(' ')}`);
  message.ack();
  seen += 1;
}
await connection.drain();
