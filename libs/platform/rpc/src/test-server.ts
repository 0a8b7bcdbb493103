// node test-server.ts FOLDER [ADDRESS]: a server in a process of its own, to be frozen. Prints its port.
import { rpc } from '@berth/contracts';
import type { CertificateServiceImplementation } from '@berth/contracts/registry';
import type { CallerContext } from '@berth/kernel';
import { bind } from '@berth/kernel';
import { SystemClock, silentLogger } from '@berth/process';
import { startServer } from './server.ts';
import { fileTls } from './tls.ts';

const [folder = '.', address = '127.0.0.1:0'] = process.argv.slice(2);
const clock = new SystemClock();
const handler = {
  listCertificates: async () => ({ certificates: [{ serial: String(process.pid) }] }),
  renewCertificate: async () => ({}),
  issueCertificate: async () => ({}),
  revokeCertificate: async () => ({}),
  rotateCa: async () => ({}),
  createToken: async () => ({}),
  rotateToken: async (_request: unknown, { signal }: { signal: AbortSignal }) => {
    await clock.sleep(60_000, signal);
    return {};
  },
} as unknown as CertificateServiceImplementation<CallerContext>;
const runtime = {
  logs: async function* (_request: unknown, { signal }: { signal: AbortSignal }) {
    yield { line: Buffer.from('first') };
    await clock.sleep(60_000, signal);
  },
  exec: async function* () {},
  inspect: async () => ({}),
  stats: async function* () {},
  loadImage: async function* () {},
  saveImage: async function* () {},
};
const server = await startServer({
  address,
  access: { kind: 'mtls', tls: fileTls(folder, { clock, logger: silentLogger }) },
  services: [bind(rpc.certificate, handler), bind(rpc.runtime, runtime as never)],
  logger: silentLogger,
});
console.log(server.port);
