// node test-process.ts MODE: a process to stop, crash and end. Modes below.
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthError } from '@berth/kernel';
import { createLogger } from './logger.ts';
import type { Running } from './run-process.ts';
import { runProcess } from './run-process.ts';

const mode = process.argv[2];
const logger = createLogger({ component: 'test' });
const alive = setInterval(() => {}, 1_000);

const modes: Record<string, () => Promise<Running>> = {
  serves: async () => ({ stop: async () => logger.info({}, 'let go of everything') }),
  'stops slowly': async () => ({ stop: () => sleep(60_000) }),
  'starts slowly': async () => {
    logger.info({}, 'test starts');
    await sleep(300);
    return { stop: async () => logger.info({}, 'let go of everything') };
  },
  'gives up its start': async () => {
    logger.info({}, 'test starts');
    await sleep(300);
    throw new BerthError('Cancelled', 'asked to stop before it was there');
  },
  'is done': async () => ({ stop: async () => {}, done: sleep(50) }),
  dies: async () => ({
    stop: async () => logger.info({}, 'let go of everything'),
    done: sleep(50).then(() => {
      throw new Error('the loop died');
    }),
  }),
  'dies, and waits for its loop to stop': async () => {
    const done = sleep(50).then(() => {
      throw new Error('the loop died');
    });
    return { stop: () => done, done };
  },
  'cannot start': async () => {
    throw new Error('no start');
  },
  rejects: async () => {
    setTimeout(() => {
      void Promise.reject(new Error('nobody listens'));
      void Promise.reject(new Error('nobody listens to this either'));
    }, 50);
    return { stop: async () => {} };
  },
  throws: async () => {
    setTimeout(() => {
      throw new Error('out of a timer');
    }, 50);
    return { stop: async () => {} };
  },
};

const start = modes[mode ?? ''];
if (start === undefined) throw new Error(`no mode ${mode}`);
runProcess({ name: 'test', logger, start, stopLimitMs: 500 });
process.on('exit', () => clearInterval(alive));
