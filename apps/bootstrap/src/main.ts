import { createLogger, runProcess } from '@berth/process';
import { readConfig } from './config.ts';
import { start } from './wiring.ts';

const config = readConfig();
const logger = createLogger({
  component: 'bootstrap',
  level: config.logLevel,
  fields: { cluster: config.clusterId },
});
runProcess({ name: 'bootstrap', logger, start: () => start(config, logger), stopLimitMs: 5_000 });
