export type { EtcdClientOptions, EtcdTls, EtcdTlsSource } from './client.ts';
export type { EtcdOwner, EtcdStatus } from './etcd-admin.ts';
export { controlPlaneOwners, EtcdAdmin } from './etcd-admin.ts';
export type { EtcdStoreOptions } from './etcd-store.ts';
export { connectEtcd, EtcdStore } from './etcd-store.ts';
