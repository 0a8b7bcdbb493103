import type { LoadStackOptions } from '../../index.ts';

/** A file that must be accepted, with what it needs around it. */
export interface Good {
  readonly name: string;
  readonly text: string;
  readonly options: Partial<LoadStackOptions>;
}

const env: Record<string, Record<string, string>> = {
  wordpress: { DB_ROOT_PASSWORD: 'root', DB_PASSWORD: 'pa$$word' },
  'host-network': {
    BERTH_VERSION: '0.1.0',
    BERTH_DATA: '/var/lib/berth',
    ETCD_PORT: '2379',
    SCHEDULER_PORT: '7401',
  },
};

/** Whole files as people write them; the test reads them, as this lib reads no files. */
export function goodFiles(read: (url: URL) => string): Good[] {
  return ['wordpress', 'guestbook', 'voting-app', 'chain', 'host-network'].map((name) => ({
    name,
    text: read(new URL(`${name}.yaml`, import.meta.url)),
    options: { env: env[name] ?? {} },
  }));
}
