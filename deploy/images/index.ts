export { buildImages, imageReferences, prefetchLayers, removeImages } from './build.ts';
export { guestbookImages, productImages } from './catalogue.ts';
export { imageTemplate } from './template.ts';
