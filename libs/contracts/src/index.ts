export * from './access.ts';
export * from './hello.ts';
export * from './rpc.ts';
