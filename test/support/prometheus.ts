/** Prometheus as Debian ships it, with its own Marathon service discovery pointed at an API of ours. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.ts';

/** What the discovery tells of one target, before any relabelling. */
export type Discovered = Readonly<Record<string, string>>;

export interface Prometheus {
  /** By app, then by address. */
  targets(): Promise<readonly Discovered[]>;
  stop(): Promise<void>;
}

export async function startPrometheus(url: string): Promise<Prometheus> {
  const dir = await mkdtemp(join(tmpdir(), 'portolan-prometheus-'));
  const sd = { servers: [url], refresh_interval: '1s' };
  const job = { job_name: 'apps', scrape_interval: '1h', marathon_sd_configs: [sd] };
  await writeFile(join(dir, 'prometheus.yml'), JSON.stringify({ scrape_configs: [job] }));
  const port = await freePort();
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(dir, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(dir, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: 'ignore' },
  );
  let problem: Error | undefined;
  child.once('error', (error) => (problem = error));
  return {
    targets: () => {
      if (problem === undefined) return readTargets(port);
      throw new Error(`Prometheus does not start: run "sh scripts/setup.sh --tests": ${problem.message}`);
    },
    stop: async () => {
      await ended(child);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function readTargets(port: number): Promise<readonly Discovered[]> {
  const answer = await fetch(`http://127.0.0.1:${port}/api/v1/targets?state=active`).catch(() => undefined);
  if (answer?.ok !== true) return [];
  const { data } = (await answer.json()) as {
    data: { activeTargets: readonly { discoveredLabels: Discovered }[] };
  };
  const key = (target: Discovered): string =>
    `${target['__meta_marathon_app'] ?? ''} ${target['__address__'] ?? ''}`;
  return data.activeTargets
    .map(({ discoveredLabels }) => discoveredLabels)
    .sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
  });
}
