import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** A registry with the process's own metrics (memory, event loop, garbage collection), labelled with its component. */
export function createMetrics(component: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ component });
  collectDefaultMetrics({ register: registry });
  return registry;
}

/** Makes gauges that are read whenever the metrics are asked for. */
export function gaugesIn(registry: Registry): (name: string, help: string, read: () => number) => void {
  return (name, help, read) => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
}

/** Counts and times the RPCs that a server answered; give it to `startServer` as its observer. */
export function rpcMetrics(registry: Registry): {
  ended(call: { readonly method: string; readonly code: string; readonly ms: number }): void;
} {
  const calls = new Counter({
    name: 'berth_rpc_calls_total',
    help: 'RPCs that ended, by method and code.',
    labelNames: ['method', 'code'],
    registers: [registry],
  });
  const seconds = new Histogram({
    name: 'berth_rpc_seconds',
    help: 'Time from the start of an RPC to its end, streams too.',
    labelNames: ['method'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers: [registry],
  });
  return {
    ended: ({ method, code, ms }) => {
      calls.inc({ method, code });
      seconds.observe({ method }, ms / 1_000);
    },
  };
}
