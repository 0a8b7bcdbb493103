// Removes what crashed test runs left on this machine: network namespaces, daemons, mounts, folders.
import { sweepCrashed } from '@berth/testing-hosts';

const removed = await sweepCrashed();
if (removed.length > 0) console.log(`removed what crashed runs left: ${removed.join(', ')}`);
