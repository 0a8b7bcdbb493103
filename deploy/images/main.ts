// npm run images [-- NAME...]: makes the images of Berth and of examples/guestbook, or only those named, in the docker
// client's engine.
import { buildImages } from './build.ts';
import { guestbookImages, productImages } from './catalogue.ts';

const started = performance.now();
const named = process.argv.slice(2);
const images = named.length > 0 ? named : [...productImages, ...guestbookImages];
const result = await buildImages({ images, onProgress: (text) => console.log(text) });
for (const { reference, built } of result) console.log(`${built ? 'built ' : 'as was'} ${reference}`);
console.log(`${((performance.now() - started) / 1_000).toFixed(1)} s`);
