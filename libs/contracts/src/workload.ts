export * from './gen/berth/workload/v1/access.ts';
export * from './gen/berth/workload/v1/common.ts';
export * from './gen/berth/workload/v1/stack.ts';
export * from './gen/berth/workload/v1/task.ts';
