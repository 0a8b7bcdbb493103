export * from './cidr.ts';
export * from './names.ts';
export * from './nats-permissions.ts';
export * from './network-settings.ts';
export * from './restart.ts';
export * from './scopes.ts';
export * from './status-order.ts';
export * from './task-state.ts';
