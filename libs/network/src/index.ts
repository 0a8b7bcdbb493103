export { formatCidr, parseCidr } from './domain/cidr.ts';
export { networkOwner } from './domain/records.ts';
export type { NetworkSettings } from './domain/settings.ts';
export { defaultNetworkSettings, networkSettings } from './domain/settings.ts';
export { NetworkTables } from './domain/tables.ts';
export { NetworkHandlers } from './service/network-handlers.ts';
export { NetworkManager } from './service/network-manager.ts';
