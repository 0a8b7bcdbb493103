export { networkOwner } from './domain/records.ts';
export { NetworkTables } from './domain/tables.ts';
export { NetworkHandlers } from './service/network-handlers.ts';
export { NetworkManager } from './service/network-manager.ts';
