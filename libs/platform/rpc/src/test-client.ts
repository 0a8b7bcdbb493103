// node test-client.ts FOLDER ADDRESS: holds a stream in a process of its own, to be frozen. Prints the first line.
import { rpc } from '@berth/contracts';
import { silentLogger as logger, SystemClock, SystemRng } from '@berth/process';
import { createDialer } from './dialer.ts';
import { fileTls } from './tls.ts';

const [folder = '.', address = ''] = process.argv.slice(2);
const clock = new SystemClock();
const dialer = createDialer({ tls: fileTls(folder, { clock, logger }), clock, rng: new SystemRng(), logger });
const target = { identity: { role: 'service', name: 'registry' }, addresses: () => [address] } as const;
for await (const { line } of dialer.client(rpc.runtime, target).logs({})) console.log(String(line));
