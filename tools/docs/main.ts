// npm run docs: writes the documents that are made from the code.
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { eventsDocument } from './events.ts';
import { readSchema } from './schema.ts';

const file = join(resolve(import.meta.dirname, '../..'), 'docs/events.md');
writeFileSync(file, eventsDocument(readSchema()));
console.log(`wrote ${file}`);
