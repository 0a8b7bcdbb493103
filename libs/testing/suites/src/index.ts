export { eventually } from './eventually.ts';
export { MirrorFollower } from './mirror-follower.ts';
export type { StoreUnderTest } from './store-contract.ts';
export { storeContract } from './store-contract.ts';
