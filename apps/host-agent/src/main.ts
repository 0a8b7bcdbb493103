import { createLogger, runProcess } from '@berth/process';
import { readConfig } from './config.ts';
import { start } from './wiring.ts';

const config = readConfig();
const logger = createLogger({ component: 'host-agent', level: config.logLevel });

runProcess({ name: 'host-agent', logger, start: (signal) => start(config, logger, signal) });
