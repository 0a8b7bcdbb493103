export { buildImages, imageReferences, removeImages } from './build.ts';
export { guestbookImages, productImages } from './catalogue.ts';
export { imageTemplate } from './template.ts';
