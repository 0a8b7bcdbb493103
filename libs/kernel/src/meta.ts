/** The keys that all owners may read and only bootstrap and restore write. Values are UTF-8 text unless said otherwise. */
export const metaKeys = {
  /** Id of the cluster, carried by everything it makes. */
  clusterId: 'meta/cluster-id',
  /** Random id written at `cluster init` and at every restore. */
  epoch: 'meta/epoch',
  /** Version of the stored records, a decimal number. */
  schema: 'meta/schema',
  /** What was fixed at `cluster init`: an encoded `berth.workload.v1.ClusterSettings`. */
  settings: 'meta/settings',
} as const;
