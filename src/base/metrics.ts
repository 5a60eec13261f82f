/** Metrics behind one small interface; one registry per daemon, injected. */
import {
  Counter as PromCounter,
  Gauge as PromGauge,
  Histogram as PromHistogram,
  Registry,
} from 'prom-client';

export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  add(count?: number, labels?: Labels): void;
}
export interface Gauge {
  set(value: number, labels?: Labels): void;
}
export interface Histogram {
  /** Observes a duration in seconds. */
  observe(seconds: number, labels?: Labels): void;
}

/** Values by labels. */
export type MetricReader = () => Iterable<readonly [Labels, number]>;

export interface Metrics {
  /** Asking for a name again gives the same metric. */
  counter(name: string, help: string, labelNames?: readonly string[]): Counter;
  gauge(name: string, help: string, labelNames?: readonly string[]): Gauge;
  histogram(name: string, help: string, labelNames?: readonly string[]): Histogram;
  /** A metric that is read when somebody asks; asking for a name again replaces who is read. */
  read(
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    labelNames: readonly string[],
    read: MetricReader,
  ): void;
  /** The Prometheus text exposition format. */
  expose(): Promise<string>;
  /** Flat name -> value, labels in braces: for JSON snapshots and tests. */
  snapshot(): Promise<Readonly<Record<string, number>>>;
}

const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function createMetrics(): Metrics {
  const registry = new Registry();
  const named = <T>(name: string, create: () => T): T =>
    (registry.getSingleMetric(name) as T | undefined) ?? create();
  const init = (name: string, help: string, labelNames: readonly string[] | undefined) => ({
    name,
    help,
    labelNames: labelNames ?? [],
    registers: [registry],
  });
  return {
    counter: (name, help, labelNames) => {
      const metric = named(name, () => new PromCounter(init(name, help, labelNames)));
      return { add: (count = 1, labels = {}) => metric.inc(labels, count) };
    },
    gauge: (name, help, labelNames) => {
      const metric = named(name, () => new PromGauge(init(name, help, labelNames)));
      return { set: (value, labels = {}) => metric.set(labels, value) };
    },
    histogram: (name, help, labelNames) => {
      const metric = named(
        name,
        () => new PromHistogram({ ...init(name, help, labelNames), buckets: durationBuckets }),
      );
      return { observe: (seconds, labels = {}) => metric.observe(labels, seconds) };
    },
    read: (kind, name, help, labelNames, read) => {
      registry.removeSingleMetric(name);
      addReader(kind, init(name, help, labelNames), read);
    },
    expose: () => registry.metrics(),
    snapshot: async () => {
      const flat: Record<string, number> = {};
      for (const metric of await registry.getMetricsAsJSON()) {
        for (const value of metric.values as { value: number; labels: Labels; metricName?: string }[]) {
          const labels = Object.entries(value.labels).map(([key, text]) => `${key}=${text}`);
          flat[(value.metricName ?? metric.name) + (labels.length > 0 ? `{${labels.join(',')}}` : '')] =
            value.value;
        }
      }
      return flat;
    },
  };
}

function addReader(
  kind: 'counter' | 'gauge',
  init: { name: string; help: string; labelNames: readonly string[]; registers: Registry[] },
  read: MetricReader,
): void {
  const collect = (): void => {
    metric.reset();
    for (const [labels, value] of read()) metric.inc(labels, value);
  };
  const metric =
    kind === 'counter' ? new PromCounter({ ...init, collect }) : new PromGauge({ ...init, collect });
}
