/**
 * Real agents on real kernels: from a change until it is in every kernel, and what an agent costs that does nothing.
 *
 * A change of a node's record is timed by the kernels' own word: one monitor hears the routes of all hosts. A change of
 * the masters' is timed by the agents' word, since all have one clock here, and as a caller sees it who waits for it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { sleep } from '../src/base/clock.ts';
import { request } from '../src/http/client.ts';
import { labPaths } from '../src/lab/paths.ts';
import { readLabState } from '../src/lab/state.ts';
import type { AppliedStatus } from '../src/node/applied.ts';
import { invitation } from './support/invitation.ts';
import type { Bench } from './support/report.ts';
import { atEnd, lab, portolan, root } from './support/run.ts';
import { median, percentile } from './support/stats.ts';

const LAB = 'benchconv';
const HOSTS = 32;
const CHANGES = 100;
/** As many changes at the master. */
const WAITS = 50;
const CHANGE_TIMEOUT_MS = 10_000;
/** Between two changes: more than what is gathered, so that each is a change of its own. */
const PAUSE_MS = 50;
const IDLE_MS = 60_000;
/** What follows a change is over: comparisons, retries, and V8's giving back of memory, which begins after 8 s of quiet. */
const SETTLE_MS = 20_000;
const TICKS_PER_SECOND = 100;

export const convergence: Bench = {
  name: 'convergence',
  about: `${HOSTS} agents in lab namespaces, ${CHANGES} moves of a block, ${WAITS} changes at the master, then ${IDLE_MS / 1000} s of nothing`,
  async run() {
    await lab(LAB, HOSTS);
    const mover = await Mover.start();
    const kernels = await timeKernels(mover);
    const { applied, known } = await timeWaits(mover);
    mover.end();
    await sleep(SETTLE_MS);
    const idle = await idleShares();
    const ms = { unit: 'ms' } as const;
    return [
      {
        ...{ what: 'a node moves its block: route in every kernel, 99th percentile', ...ms },
        ...{ ours: percentile(kernels, 0.99), promise: { atMost: 300 } },
      },
      { what: 'the same, median', ...ms, ours: median(kernels), promise: { atMost: 300 } },
      {
        ...{ what: 'a change at the master: applied in every kernel, 99th percentile', ...ms },
        ...{ ours: percentile(applied, 0.99), promise: { atMost: 300 } },
      },
      { what: 'the same, median', ...ms, ours: median(applied), promise: { atMost: 300 } },
      {
        ...{ what: 'the same until its caller knows it, 99th percentile', ...ms },
        ...{ ours: percentile(known, 0.99) },
      },
      { what: 'the same until its caller knows it, median', ...ms, ours: median(known) },
      {
        ...{ what: 'idle agent, median of all', unit: '% of one core' },
        ...{ ours: median(idle), promise: { atMost: 0.5 } },
      },
      {
        ...{ what: 'idle agent, the busiest', unit: '% of one core' },
        ...{ ours: Math.max(...idle), promise: { atMost: 0.5 } },
      },
    ];
  },
};

/** The node that moves, and hears of everything. */
class Mover {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  static async start(): Promise<Mover> {
    const program = join(root, 'dist-bench', 'bench', 'convergence-child.js');
    const argv = ['lab', 'exec', '--lab', LAB, 'agent1', '--', process.execPath, program];
    return new Mover(child(portolan, [...argv, await invitation(LAB)]));
  }

  private constructor(started: ChildProcess) {
    this.#child = started;
    this.#answers = createInterface({ input: started.stdout as NodeJS.ReadableStream })[
      Symbol.asyncIterator
    ]();
  }

  /** When it began, by wall time. */
  move(): Promise<{ readonly subnet: string; readonly at: number }> {
    return this.#ask('next');
  }

  /** When the last agent had it, by wall time. */
  applied(revision: number): Promise<{ readonly at: number }> {
    return this.#ask(`applied ${revision} ${HOSTS + 1}`);
  }

  end(): void {
    this.#child.stdin?.end();
  }

  async #ask<T>(line: string): Promise<T> {
    this.#child.stdin?.write(`${line}\n`);
    return JSON.parse((await this.#answers.next()).value ?? '{}') as T;
  }
}

/** For each change, ms until the last kernel had its route. */
async function timeKernels(mover: Mover): Promise<readonly number[]> {
  const routes = new RouteWatch();
  await routes.start();
  const times: number[] = [];
  // The first change brings the node itself; it does not count.
  for (let i = 0; i <= CHANGES; i++) {
    const { subnet, at } = await mover.move();
    const last = await routes.everywhere(subnet);
    if (i > 0) times.push(last - at);
    await sleep(PAUSE_MS);
  }
  return times;
}

/** Hears of routes in every host's kernel, on one socket in the lab's own namespace. */
class RouteWatch {
  readonly #seen = new Map<string, Map<string, number>>();

  async start(): Promise<void> {
    // The cables to the hosts make their namespaces known in this one.
    const monitor = child('ip', ['-n', labPaths(LAB).underlay, '-ts', 'monitor', 'all-nsid', 'route']);
    createInterface({ input: monitor.stdout as NodeJS.ReadableStream }).on('line', (line) =>
      this.#take(line),
    );
    await sleep(500);
  }

  /** Wall time in ms at which the last kernel had it. */
  async everywhere(subnet: string): Promise<number> {
    const end = performance.now() + CHANGE_TIMEOUT_MS;
    for (;;) {
      const seen = this.#seen.get(subnet);
      if (seen?.size === HOSTS + 1) return Math.max(...seen.values());
      if (performance.now() > end)
        throw new Error(`${subnet} is in ${seen?.size ?? 0} kernels of ${HOSTS + 1} after 10 s`);
      await sleep(2);
    }
  }

  #take(line: string): void {
    const [, at, host, subnet] = /^\[([-0-9T:.]+)\] ?\[nsid (\d+)\] ?(9\.200\.\d+\.0\/24) /.exec(line) ?? [];
    if (at === undefined || host === undefined || subnet === undefined) return;
    const seen = this.#seen.get(subnet) ?? new Map<string, number>();
    this.#seen.set(subnet, seen);
    if (!seen.has(host)) seen.set(host, new Date(at).getTime());
  }
}

interface Waits {
  /** Ms until the last agent had it in its kernel. */
  readonly applied: readonly number[];
  /** Ms until the caller knew that. */
  readonly known: readonly number[];
}

/** An overlay comes and goes; each time the caller waits until every kernel is as the masters want it. */
async function timeWaits(mover: Mover): Promise<Waits> {
  const target = { socketPath: labPaths(LAB).apiSocket };
  const info = { name: 'coming', subnet: '10.64.0.0/16', prefix: 24, enabled: false };
  const times: Waits & { applied: number[]; known: number[] } = { applied: [], known: [] };
  for (let i = 0; i < WAITS; i++) {
    const begin = Date.now();
    const change =
      i % 2 === 0
        ? ({ method: 'POST', path: '/v1/networks', body: info } as const)
        : ({ method: 'DELETE', path: '/v1/networks/coming' } as const);
    const answer = await request(target, { ...change, timeoutMs: 10_000 });
    if (answer.status >= 400) throw new Error(`${change.method}: ${JSON.stringify(answer.body)}`);
    const wait = { method: 'GET', path: '/v1/applied?wait=10', timeoutMs: 15_000 } as const;
    const status = (await request(target, wait)).body as AppliedStatus;
    if (status.applied <= HOSTS) throw new Error(`not applied: ${JSON.stringify(status.missing)}`);
    times.known.push(Date.now() - begin);
    times.applied.push((await mover.applied(status.revision)).at - begin);
    // An agent tells again after 100 ms at the earliest; changes that come faster are another question.
    await sleep(PAUSE_MS + 100);
  }
  return times;
}

/** Per agent, the share of one core in %, over IDLE_MS. */
async function idleShares(): Promise<readonly number[]> {
  const state = await readLabState(LAB);
  const agents = (state?.processes ?? []).filter(({ kind }) => kind === 'agent').map(({ pid }) => pid);
  const before = agents.map(cpuTicks);
  await sleep(IDLE_MS);
  return agents.map(
    (pid, i) => ((cpuTicks(pid) - (before[i] ?? 0)) / TICKS_PER_SECOND / (IDLE_MS / 1000)) * 100,
  );
}

/** utime and stime: fields 14 and 15 of proc(5) stat. */
function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

/** A process that ends with the bench. */
function child(command: string, args: readonly string[]): ChildProcess {
  const started = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  atEnd(() => started.kill());
  return started;
}
