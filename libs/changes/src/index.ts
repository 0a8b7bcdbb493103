export type * from './change.ts';
export type * from './view.ts';
export * from './write-set.ts';
