import { afterEach, expect, it } from 'vitest';
import { realClock } from '../../base/clock.ts';
import { PortolanError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import type { Answer, HttpTarget, RequestInit } from '../../http/client.ts';
import { launchOf } from '../../model/task-fake.ts';
import { TASKS_PATH, tasksRequest, type TaskLaunch } from '../../model/task.ts';
import { Assignments } from './assignments.ts';

/** Holds the request until its list is another than `have`, as a master does. */
class FakeMaster {
  revision = '1';
  tasks: readonly TaskLaunch[] = [];
  down = false;
  readonly asked: (string | undefined)[] = [];
  readonly #waiting = new Set<() => void>();

  set(revision: string, tasks: readonly TaskLaunch[]): void {
    this.revision = revision;
    this.tasks = tasks;
    for (const wake of this.#waiting) wake();
  }

  async answer(init: RequestInit): Promise<Answer> {
    if (this.down) throw new PortolanError('unavailable', 'Cannot reach it');
    expect(init.path).toBe(TASKS_PATH);
    const { have } = tasksRequest.parse(init.body);
    this.asked.push(have);
    while (have === this.revision) await this.#change(init.signal);
    return { status: 200, body: { revision: this.revision, tasks: this.tasks } };
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(resolve);
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  }
}

const masters = new Map<string, FakeMaster>();
let assignments: Assignments | undefined;
let kept: { readonly revision: string; readonly ids: readonly string[] } | undefined;
/** What the disk says to a list. */
let refusal: Error | undefined;

function start(): void {
  const request = (target: HttpTarget, init: RequestInit): Promise<Answer> =>
    masters.get('host' in target ? target.host : '')?.answer(init) ??
    Promise.reject(new PortolanError('unavailable', 'nobody is there'));
  assignments = new Assignments(
    { clock: realClock, log: silentLog, request },
    {
      node: 'n1',
      masters: () => ['10.0.0.1:5050', '10.0.0.2:5050'],
      revision: () => kept?.revision,
      onList: (revision, launches) => {
        if (refusal !== undefined) return Promise.reject(refusal);
        kept = { revision, ids: launches.map(({ id }) => id) };
        return Promise.resolve();
      },
    },
  );
  assignments.start();
}

const becomes = (revision: string, ...ids: readonly string[]): Promise<void> =>
  expect.poll(() => kept, { timeout: 20_000 }).toEqual({ revision, ids });

afterEach(async () => {
  await assignments?.stop();
  masters.clear();
  kept = undefined;
  refusal = undefined;
});

it('takes a list, then waits for another than the one it has', async () => {
  const master = new FakeMaster();
  masters.set('10.0.0.1', master);
  start();
  await becomes('1');
  master.set('2', [launchOf('t1')]);
  await becomes('2', 't1');
  await expect.poll(() => master.asked, { timeout: 20_000 }).toEqual([undefined, '1', '2']);
});

it('asks another master when one is gone, and keeps the last list meanwhile', async () => {
  const first = new FakeMaster();
  masters.set('10.0.0.1', first);
  first.set('1', [launchOf('t1')]);
  start();
  await becomes('1', 't1');
  const second = new FakeMaster();
  second.set('2', []);
  masters.set('10.0.0.2', second);
  first.down = true;
  first.set('x', []);
  await becomes('2');
});

it('asks again for a list that could not be kept', async () => {
  const master = new FakeMaster();
  masters.set('10.0.0.1', master);
  masters.set('10.0.0.2', master);
  refusal = new Error('ENOSPC: no space left on device');
  start();
  await expect.poll(() => master.asked.length, { timeout: 20_000 }).toBeGreaterThan(1);
  expect(kept).toBeUndefined();
  refusal = undefined;
  await becomes('1');
});
