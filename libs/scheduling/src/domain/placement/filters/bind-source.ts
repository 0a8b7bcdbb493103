import type { Filter } from '../types.ts';

/** The node where the relative paths lie that the task mounts: the only one that the cluster had when they were accepted. */
export const bindSource: Filter = {
  name: 'bind-source',
  lack: 'without the relative path that it mounts',
  admits: ({ bindNode }, { node }) => bindNode === undefined || bindNode === node.id,
  detail: ({ bindNode }, _refused, all) => {
    const hostname = all.find(({ node }) => node.id === bindNode)?.node.hostname ?? bindNode;
    return `the path lies on ${hostname}, which was the only node when the stack was applied; pin the service, or mount an absolute path`;
  },
};
