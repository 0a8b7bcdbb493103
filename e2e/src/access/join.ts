// node join.ts TOKEN HOST:PORT ADDRESS: joins as a node that no agent stands behind, from inside a host's network. Prints its
// id and credentials as JSON.
import { helloOf, rpc } from '@berth/contracts';
import { Node } from '@berth/contracts/registry';
import { createCsr, createKey, parseJoinToken } from '@berth/identity';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import { dialPinned } from '@berth/rpc';

const [token = '', joinAddress = '', address = ''] = process.argv.slice(2);
const { caDigest, secret } = parseJoinToken(token);
const identity = { role: 'service', name: 'registry' } as const;
const ports = { clock: new SystemClock(), rng: new SystemRng(), logger: silentLogger };
const { dialer } = await dialPinned({ ...ports, addresses: [joinAddress], identity, caDigest });
const client = dialer.client(rpc.join, { identity, addresses: () => [joinAddress] });
const key = await createKey();
const { nodeId, certificatePem, caPem } = await client.join({
  tokenSecret: secret,
  csr: await createCsr(key),
  node: Node.fromPartial({ hostname: 'other', address, agentPort: 1 }),
  hello: helloOf('', 'test'),
});
dialer.close();
process.stdout.write(JSON.stringify({ nodeId, cert: certificatePem, key, ca: caPem }));
