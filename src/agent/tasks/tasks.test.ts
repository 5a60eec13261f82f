import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PublishedTasks } from '../../../test/support/published-tasks.ts';
import { launchOf } from '../../model/task-fake.ts';
import { realClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { PortolanError } from '../../base/errors.ts';
import type { TaskLaunch, TaskRecord } from '../../model/task.ts';
import { FetchCache } from '../../runtime/fetch-cache.ts';
import { FakeContainerizer } from '../../runtime/containerizer-fake.ts';
import { memoryJournal } from '../../store/memory-journal.ts';
import type { Journal } from '../../store/types.ts';
import { PersistentVolumes } from './persistent-volumes.ts';
import { TaskPublisher } from './task-publisher.ts';
import { TaskStore } from './task-store.ts';
import { EndedTasks } from './ended-tasks.ts';
import { containerIdOf, TaskHost } from './task-host.ts';
import { Tasks } from './tasks.ts';

let root = '';
let journal: Journal = memoryJournal();
let native = new FakeContainerizer();
let published = new PublishedTasks();
let opened: Tasks[] = [];
/** What refuses ports, as the host would. */
let taken: Error | undefined;
/** How long sandboxes of ended tasks are kept. */
let keepMs = 0;

async function open(): Promise<Tasks> {
  const log = silentLog;
  const ended = new EndedTasks(
    { clock: realClock, log },
    { root, keepMs, diskHeadroom: 0.1, max: 10, diskUsed: () => Promise.resolve(0) },
  );
  const volumes = new PersistentVolumes({ root: `${root}-volumes` });
  const fetchCache = new FetchCache({ root: `${root}-fetch`, maxBytes: 1024 });
  const host = new TaskHost(
    { log, containerizers: [native], ended, fetchCache },
    { root, refuseTakenPorts: () => (taken === undefined ? Promise.resolve() : Promise.reject(taken)) },
  );
  const tasks = new Tasks(
    {
      clock: realClock,
      log,
      store: new TaskStore({ journal, log }),
      publisher: new TaskPublisher(
        { exchange: published.exchange, clock: realClock, log },
        { node: published.node },
      ),
      ...{ host, ended, volumes, socketIn: () => -1 },
    },
    { agentIp: () => '10.0.0.11' },
  );
  opened.push(tasks);
  await tasks.open();
  return tasks;
}

const told = (id: string): TaskRecord | undefined => published.told(id);
const becomes = (id: string, state: string): Promise<void> =>
  expect.poll(() => told(id)?.state, { timeout: 20_000 }).toBe(state);
let revision = 0;
const assign = (tasks: Tasks, ...launches: readonly TaskLaunch[]): Promise<void> =>
  tasks.assign(String(++revision), launches);

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'plb-tasks-'));
  journal = memoryJournal();
  native = new FakeContainerizer();
  published = new PublishedTasks();
  taken = undefined;
  keepMs = 0;
});

afterEach(async () => {
  for (const tasks of opened) await tasks.close();
  opened = [];
  for (const path of [root, `${root}-volumes`, `${root}-log`])
    await rm(path, { recursive: true, force: true });
});

describe('what masters want', () => {
  it('is launched, told, killed and forgotten, with its sandbox', async () => {
    const tasks = await open();
    const launch = launchOf('t1');
    await assign(tasks, launch);
    await becomes('t1', 'TASK_RUNNING');
    expect(await readdir(root)).toEqual([containerIdOf('t1')]);
    await assign(tasks, { ...launch, goal: 'killed' });
    await becomes('t1', 'TASK_KILLED');
    await assign(tasks);
    await expect.poll(() => told('t1'), { timeout: 20_000 }).toBeUndefined();
    expect(native.calls).toEqual(['launch t1', 'SIGTERM t1', 'release t1', 'remove t1']);
    expect(await readdir(root)).toEqual([]);
    expect([...journal.entries('task/')]).toEqual([]);
  });

  it('leaves its sandbox and what it wrote for a time, also to the next agent', async () => {
    keepMs = 3_600_000;
    const tasks = await open();
    native.log = `${root}-log`;
    await writeFile(native.log, '2026-11-21T01:00:00.000+00:00 stdout F last words\n');
    await assign(tasks, launchOf('t1'));
    await becomes('t1', 'TASK_RUNNING');
    native.end(containerIdOf('t1'), 3);
    await becomes('t1', 'TASK_FAILED');
    await assign(tasks);
    await expect.poll(() => told('t1'), { timeout: 20_000 }).toBeUndefined();
    expect(native.containers.size).toBe(0);
    expect([...journal.entries('task/')]).toEqual([]);
    expect(tasks.list()).toEqual([]);
    await tasks.close();
    const next = await open();
    expect(next.record('t1')).toMatchObject({ id: 't1', state: 'TASK_FAILED', exit_code: 3 });
    expect((await next.logs('t1', 0)).entries).toEqual([{ stream: 'stdout', text: 'last words\n' }]);
    await expect(next.execWords('t1', { terminal: false })).rejects.toThrow(
      'Cannot run a command in task "t1": it has ended',
    );
    expect(() => next.record('t2')).toThrow('Cannot find task "t2"');
    expect((await readdir(join(root, containerIdOf('t1')))).sort()).toEqual(['ended.json', 'log', 'sandbox']);
  });

  it('has the address of the host where it is in its network', async () => {
    const tasks = await open();
    await assign(tasks, launchOf('t1', { networks: [{ mode: 'host' }] }));
    await becomes('t1', 'TASK_RUNNING');
    expect(told('t1')?.networks).toEqual([{ mode: 'host', addresses: ['10.0.0.11'] }]);
  });

  it('is killed for good when its grace period is over', async () => {
    native.stubborn = true;
    const tasks = await open();
    const launch = launchOf('t1', { kill_grace_s: 0.05 });
    await assign(tasks, launch);
    await becomes('t1', 'TASK_RUNNING');
    await assign(tasks, { ...launch, goal: 'killed' });
    await becomes('t1', 'TASK_KILLED');
    expect(native.calls).toEqual(['launch t1', 'SIGTERM t1', 'SIGKILL t1', 'release t1']);
  });

  it('comes to nothing with a reason: a refusal, a port, a file, a runtime that is not there', async () => {
    const tasks = await open();
    native.refusal = new PortolanError('invalid', 'Cannot start it: "nosuch" not found');
    const t1 = launchOf('t1');
    await assign(tasks, t1);
    await becomes('t1', 'TASK_FAILED');
    taken = new PortolanError('conflict', 'Cannot map host port 80/tcp: process 12 "nginx" listens on it');
    const t2 = launchOf('t2');
    await assign(tasks, t1, t2);
    await becomes('t2', 'TASK_FAILED');
    taken = undefined;
    const fetch = [{ uri: 'file:///nosuch.tgz', extract: true, executable: false, cache: false }];
    const t3 = launchOf('t3', { fetch });
    const t4 = launchOf('t4', { runtime: 'docker' });
    await assign(tasks, t1, t2, t3, t4);
    for (const id of ['t3', 't4']) await becomes(id, 'TASK_FAILED');
    expect(['t1', 't2', 't3', 't4'].map((id) => told(id)?.message)).toEqual([
      'Cannot start it: "nosuch" not found',
      'Cannot map host port 80/tcp: process 12 "nginx" listens on it',
      'Cannot fetch "file:///nosuch.tgz": there is no such file on this host',
      'Cannot run the task: this host has no runtime for "docker": set docker.enabled to true and start dockerd',
    ]);
    expect(native.containers.size).toBe(0);
  });

  it('waits for an address that is not free yet, and is dropped where none comes free', async () => {
    const exhausted = new PortolanError('exhausted', 'All 1 addresses of 10.78.0.0/30 are in use');
    const tasks = await open();
    native.refusal = exhausted;
    const t1 = launchOf('t1');
    await assign(tasks, t1);
    await becomes('t1', 'TASK_RUNNING');
    expect(native.calls).toEqual(['launch t1', 'launch t1']);
    native.refuses = exhausted;
    await assign(tasks, t1, launchOf('t2'));
    await becomes('t2', 'TASK_DROPPED');
    expect(told('t2')).toMatchObject({ reason: 'REASON_INVALID_OFFERS', message: exhausted.message });
    native.refuses = undefined;
  });

  it('is asked for again when its list could not be kept', async () => {
    const full = memoryJournal();
    journal = { ...full, entries: (prefix) => full.entries(prefix), get: (key) => full.get(key) };
    journal.write = (changes) => {
      full.writeLazily(changes);
      return Promise.reject(new PortolanError('unavailable', 'no space left on device'));
    };
    const tasks = await open();
    await expect(assign(tasks, launchOf('t1'))).rejects.toThrow('no space left');
    expect(tasks.revision).toBeUndefined();
    journal.write = (changes) => full.write(changes);
    await assign(tasks, launchOf('t1'));
    expect(tasks.revision).toBe(String(revision));
    await becomes('t1', 'TASK_RUNNING');
  });

  it('is stopped in the middle of its launch', async () => {
    let go = (): void => undefined;
    native.hold = new Promise((resolve) => (go = resolve));
    const tasks = await open();
    const launch = launchOf('t1');
    await assign(tasks, launch);
    await becomes('t1', 'TASK_STARTING');
    await assign(tasks, { ...launch, goal: 'killed' });
    go();
    await becomes('t1', 'TASK_KILLED');
    expect(native.containers.size).toBe(0);
  });
});

describe('persistent volumes', () => {
  const user = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const volume = { kind: 'persistent', container_path: 'data', size_mib: 1, read_only: false };
  const withVolume = (task: string, id: string): TaskLaunch =>
    launchOf(task, { volumes: [{ ...volume, id }] });
  const there = async (): Promise<readonly string[]> =>
    (await readdir(`${root}-volumes`)).map((name) => decodeURIComponent(name)).toSorted();

  beforeEach(async () => {
    const volumes = new PersistentVolumes({ root: `${root}-volumes` });
    for (const id of ['a#data', 'b#data', 'other']) await volumes.path({ id, size_mib: 1 }, user);
  });

  it('are removed when masters say so and no task uses them any more, and only those', async () => {
    const tasks = await open();
    const launch = withVolume('t1', 'a#data');
    await assign(tasks, launch);
    await becomes('t1', 'TASK_RUNNING');
    await tasks.assign('wiping', [launch], ['a#data', 'b#data']);
    await expect.poll(there, { timeout: 20_000 }).toEqual(['a#data', 'other']);
    await assign(tasks, { ...launch, goal: 'killed' });
    await becomes('t1', 'TASK_KILLED');
    await expect.poll(there, { timeout: 20_000 }).toEqual(['other']);
    expect(new TaskStore({ journal, log: silentLog }).wipes).toEqual([]);
  });

  it('are removed by the next agent when the one that was told has gone, and masters are not asked again', async () => {
    const first = await open();
    await assign(first, withVolume('t1', 'a#data'));
    await becomes('t1', 'TASK_RUNNING');
    await first.assign('wiping', [withVolume('t1', 'a#data')], ['a#data']);
    await first.close();
    native.end(containerIdOf('t1'), 0);
    const second = await open();
    expect(second.revision).toBe('wiping');
    await expect.poll(there, { timeout: 20_000 }).toEqual(['b#data', 'other']);
  });
});

describe('an agent that starts again', () => {
  it('goes on with what runs, tells what ended meanwhile, launches what it had not begun', async () => {
    const first = await open();
    await assign(first, launchOf('t1'), launchOf('t2'));
    await becomes('t1', 'TASK_RUNNING');
    await becomes('t2', 'TASK_RUNNING');
    native.hold = new Promise(() => undefined);
    void assign(first, launchOf('t1'), launchOf('t2'), launchOf('t3'));
    await becomes('t3', 'TASK_STARTING');
    // It is killed: nothing of its memory is left, and nothing of it goes on.
    opened = [];
    native.calls.length = 0;
    native.hold = undefined;
    native.end(containerIdOf('t2'), 7);
    await open();
    await becomes('t2', 'TASK_FAILED');
    expect(told('t2')).toMatchObject({ exit_code: 7 });
    await becomes('t3', 'TASK_RUNNING');
    expect(told('t1')?.state).toBe('TASK_RUNNING');
    expect(native.calls).toEqual(['release t2', 'launch t3']);
  });

  it('removes containers of tasks that it does not know', async () => {
    const first = await open();
    await assign(first, launchOf('t1'));
    await becomes('t1', 'TASK_RUNNING');
    await first.close();
    journal = memoryJournal();
    await open();
    expect(native.containers.size).toBe(0);
    await expect.poll(() => told('t1'), { timeout: 20_000 }).toBeUndefined();
  });

  it('waits for a runtime that does not answer before it judges', async () => {
    const first = await open();
    await assign(first, launchOf('t1'));
    await becomes('t1', 'TASK_RUNNING');
    await first.close();
    native.down = true;
    const second = await open();
    await second.lookAtAll();
    expect(second.list()[0]?.state).toBe('TASK_RUNNING');
    native.down = false;
    native.end(containerIdOf('t1'), 0);
    await becomes('t1', 'TASK_FINISHED');
  });

  it('ends what runs when its node was removed, and clears up with the next', async () => {
    const first = await open();
    await assign(first, launchOf('t1'));
    await becomes('t1', 'TASK_RUNNING');
    await first.close();
    await first.forgetAll();
    const second = await open();
    await expect.poll(() => second.list(), { timeout: 20_000 }).toEqual([]);
    expect(native.containers.size).toBe(0);
    expect(new TaskStore({ journal, log: silentLog }).revision).toBeUndefined();
  });
});
