export type { Limits } from './domain/orchestration/types.ts';
export { defaultLimits } from './domain/orchestration/types.ts';
export { families, leaderKey, owner } from './domain/state/families.ts';
export { SchedulerView } from './domain/view/scheduler-view.ts';
export type { SchedulerObserver, SchedulerOptions, SchedulerSettings } from './service/options.ts';
export { defaultSettings } from './service/options.ts';
export { SchedulerService } from './service/scheduler-service.ts';
