export { buildImages, imageReferences, prefetchLayers, removeImages } from './build.ts';
export { appBundle } from './bundles.ts';
export { guestbookImages, productImages } from './catalogue.ts';
export { imageTemplate } from './template.ts';
