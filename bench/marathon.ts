/** The Marathon API under load: all apps with their tasks, alone and with a thousand clients of the event stream. */
import { spawn } from 'node:child_process';
import { get } from 'node:http';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Bench } from './support/report.ts';
import { atEnd, nodeFlags, root } from './support/run.ts';

const CLIENTS = 1_000;
const WARM = 10;
const CALLS = 30;

export const marathon: Bench = {
  name: 'marathon',
  about:
    'GET /v2/apps?embed=apps.tasks with 2,000 apps of 5 tasks over loopback, median of 30; 20 tasks a second change all the while, with an event each',
  async run() {
    const port = await startServer();
    const alone = await medianMs(port);
    await Promise.all(Array.from({ length: CLIENTS }, () => listen(port)));
    const crowded = await medianMs(port);
    return [
      { what: '2,000 apps, 10,000 tasks', unit: 'ms', ours: alone, promise: { atMost: 150 } },
      {
        what: `the same with ${CLIENTS} clients of the event stream`,
        unit: 'ms',
        ours: crowded,
        peer: alone,
        peerName: 'without them',
        promise: { atMost: 2 },
      },
    ];
  },
};

function startServer(): Promise<number> {
  const path = join(root, 'dist-bench', 'bench', 'marathon-child.js');
  const child = spawn(process.execPath, [...nodeFlags(), path], { stdio: ['ignore', 'pipe', 'inherit'] });
  atEnd(() => child.kill('SIGKILL'));
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    child.stdout.once('data', (text: Buffer) => resolve(Number(String(text))));
  });
}

async function medianMs(port: number): Promise<number> {
  for (let i = 0; i < WARM; i++) await readApps(port);
  const times: number[] = [];
  for (let i = 0; i < CALLS; i++) {
    const start = performance.now();
    const bytes = await readApps(port);
    times.push(performance.now() - start);
    if (bytes < 5_000_000) throw new Error(`the answer holds only ${bytes} bytes`);
  }
  return times.sort((a, b) => a - b)[CALLS / 2] ?? 0;
}

function readApps(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/v2/apps?embed=apps.tasks' }, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => (bytes += chunk.length));
      response.once('end', () => resolve(bytes));
      response.once('error', reject);
    }).once('error', reject);
  });
}

/** A client that reads everything; resolves when the stream has begun. */
function listen(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { accept: 'text/event-stream' };
    const request = get(
      { host: '127.0.0.1', port, path: '/v2/events', headers, agent: false },
      (response) => {
        response.on('error', () => undefined);
        response.once('data', () => resolve());
        response.resume();
      },
    );
    request.once('error', reject);
    atEnd(() => request.destroy());
  });
}
