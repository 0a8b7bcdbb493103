export { MemoryBroker } from './memory-broker.ts';
export { MemoryBus } from './memory-bus.ts';
export type { LogLine } from './memory-logger.ts';
export { MemoryLogger } from './memory-logger.ts';
export { MemoryRpc, type MemoryRpcOptions, type MemoryServerOptions } from './memory-rpc.ts';
export type { MemoryStoreOptions } from './memory-store.ts';
export { MemoryStore } from './memory-store.ts';
export { SeededRng } from './seeded-rng.ts';
export { settle, VirtualClock } from './virtual-clock.ts';
