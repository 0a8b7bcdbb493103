export * from './access.ts';
export * from './rpc.ts';
