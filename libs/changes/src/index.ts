export type * from './change.ts';
export * from './change-feed.ts';
export * from './only-kinds.ts';
export * from './remote-mirror.ts';
export type * from './view.ts';
export * from './write-set.ts';
