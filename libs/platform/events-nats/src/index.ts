export type { NatsOptions, NatsTls } from './nats-bus.ts';
export { connectNats, NatsBus } from './nats-bus.ts';
export type { CopySource } from './nats-log.ts';
