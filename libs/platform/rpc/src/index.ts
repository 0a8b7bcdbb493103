export { type BoundService, bind } from '@berth/kernel';
export { checkAccess } from './access.ts';
export type { Admission } from './admission.ts';
export { type ClosableDialer, createDialer, type DialerOptions } from './dialer.ts';
export { fromStatus, statusOf } from './errors.ts';
export { healthDefinition } from './health.ts';
export { rpcLimits } from './limits.ts';
export { dialPinned, type PinnedOptions } from './pinned.ts';
export { probeServer } from './probe.ts';
export {
  type RpcObserver,
  type RpcServer,
  type ServerAccess,
  type ServerOptions,
  startServer,
} from './server.ts';
export { type FileTlsOptions, fileTls, memoryTls, type TlsMaterial, type TlsSource } from './tls.ts';
