#!/usr/bin/env node
import { createLogger, runProcess } from '@berth/process';
import { readConfig } from './config.ts';
import { start } from './wiring.ts';

const config = readConfig();
const logger = createLogger({ component: 'scheduler', level: config.logLevel });
runProcess({ name: 'scheduler', logger, start: (signal) => start(config, logger, signal) });
