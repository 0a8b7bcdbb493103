export * from './gen/berth/registry/v1/resources.ts';
export * from './gen/berth/registry/v1/registry.ts';
