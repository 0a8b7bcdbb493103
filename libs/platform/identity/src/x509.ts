// @peculiar/x509 resolves its parts by reflection: the polyfill comes first.
import 'reflect-metadata';

export * as x509 from '@peculiar/x509';
