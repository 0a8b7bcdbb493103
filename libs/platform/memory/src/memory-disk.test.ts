import { diskContract } from '@berth/testing-suites';
import { MemoryDisk } from './memory-disk.ts';

diskContract('memory', async () => {
  const disk = new MemoryDisk();
  return { disk, reopen: () => disk, close: async () => {} };
});
