export * from './gen/berth/scheduler/v1/resources.ts';
export * from './gen/berth/scheduler/v1/control.ts';
export * from './gen/berth/scheduler/v1/dispatch.ts';
export type { ServerStreamingMethodResult } from './gen/berth/scheduler/v1/control.ts';
