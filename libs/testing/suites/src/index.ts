export type { EventBusUnderTest } from './event-bus-contract.ts';
export { eventBusContract } from './event-bus-contract.ts';
export { eventually } from './eventually.ts';
export { MirrorFollower } from './mirror-follower.ts';
export { realClock } from './real-clock.ts';
export type { RpcUnderTest } from './rpc-contract.ts';
export { rpcContract } from './rpc-contract.ts';
export type { StoreUnderTest } from './store-contract.ts';
export { storeContract } from './store-contract.ts';
