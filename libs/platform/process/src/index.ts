export {
  addressList,
  ConfigError,
  type ConfigSource,
  envName,
  flag,
  flagName,
  helpText,
  list,
  loadConfig,
  parseConfig,
  urlList,
} from './config.ts';
export { FileDisk } from './file-disk.ts';
export { type HttpOptions, type HttpServer, startHttp } from './http.ts';
export { createLogger, type LoggerOptions, type LogLevel, logLevels, silentLogger } from './logger.ts';
export { Counter, createMetrics, Gauge, gaugesIn, Histogram, Registry, rpcMetrics } from './metrics.ts';
export { type ProcessOptions, type Running, runProcess } from './run-process.ts';
export { port, registryAddresses, serviceSettings } from './service-settings.ts';
export { SystemClock, SystemRng } from './system.ts';
