import { resolve } from 'node:path';

/** Root of this checkout. */
export const checkout = resolve(import.meta.dirname, '../..');
