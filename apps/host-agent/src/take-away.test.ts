import { describe, expect, it } from 'vitest';
import { containerIdOf } from './take-away.ts';

const id = 'ab'.repeat(32);

describe('containerIdOf', () => {
  it('reads the id from the files that the engine mounts, wherever it keeps them', () => {
    const line = (path: string): string => `712 690 8:1 ${path} /etc/hosts rw,relatime - ext4 /dev/sda1 rw`;
    const first = '690 650 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/X';
    expect(containerIdOf(`${first}\n${line(`/var/lib/docker/containers/${id}/hosts`)}`)).toBe(id);
    expect(containerIdOf(`${first}\n${line(`/srv/engine/containers/${id}/resolv.conf`)}`)).toBe(id);
  });

  it('finds none outside of a container', () => {
    expect(containerIdOf('26 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw')).toBeUndefined();
    expect(containerIdOf(`27 26 0:5 / /var/lib/docker/containers/${id}/mounts/shm rw - tmpfs shm rw`)).toBeUndefined();
  });
});
