import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { stagedTask } from '../../apps/task-core.ts';
import { launchOf } from '../../model/task-fake.ts';
import type { TaskRecord } from '../../model/task.ts';
import { EndedTasks, overdue, type EndedTasksInit } from './ended-tasks.ts';

const HOUR = 3_600_000;
const recordOf = (id: string): TaskRecord => stagedTask(launchOf(id), 0).record;

describe('what is overdue', () => {
  const ended = [1, 2, 3, 4].map((hour) => ({
    record: recordOf(`t${hour}`),
    container: `c${hour}`,
    endedMs: hour * HOUR,
  }));
  const ids = (change: Partial<Parameters<typeof overdue>[1]>): readonly string[] =>
    overdue(ended, {
      ...{ nowMs: 5 * HOUR, keepMs: 10 * HOUR, diskUsed: 0, diskHeadroom: 0, max: 10, ...change },
    }).map(({ container }) => container);

  it('is what is too old', () => {
    expect(ids({})).toEqual([]);
    expect(ids({ keepMs: 3 * HOUR })).toEqual(['c1', 'c2']);
  });

  it('is more the fuller the disk, and everything where it is full', () => {
    expect(ids({ diskUsed: 0.75 })).toEqual(['c1', 'c2']);
    expect(ids({ diskUsed: 0.75, diskHeadroom: 0.1 })).toEqual(['c1', 'c2', 'c3']);
    expect(ids({ diskUsed: 0.95, diskHeadroom: 0.1 })).toEqual(['c1', 'c2', 'c3', 'c4']);
  });

  it('is the first where there are too many', () => {
    expect(ids({ max: 1 })).toEqual(['c1', 'c2', 'c3']);
    expect(ids({ max: 0 })).toHaveLength(4);
  });
});

describe('ended tasks', () => {
  let root = '';
  let clock = new ManualClock();
  let diskUsed = 0;
  const opened: EndedTasks[] = [];
  const make = async (change: Partial<EndedTasksInit> = {}, known: readonly string[] = []) => {
    const init = { root, keepMs: HOUR, diskHeadroom: 0.1, max: 3, diskUsed: () => Promise.resolve(diskUsed) };
    const ended = new EndedTasks({ clock, log: silentLog }, { ...init, ...change });
    opened.push(ended);
    await ended.open(new Set(known));
    return ended;
  };
  const directories = async (): Promise<readonly string[]> => (await readdir(root)).sort();

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'plb-ended-'));
    clock = new ManualClock();
    diskUsed = 0;
  });
  afterEach(async () => {
    for (const ended of opened.splice(0)) ended.close();
    await rm(root, { recursive: true, force: true });
  });

  it('are found by the beginnings of their ids, and gone when their time is over', async () => {
    const ended = await make();
    await mkdir(join(root, 'c1', 'sandbox'), { recursive: true });
    await ended.keep({ record: recordOf('web.1'), container: 'c1' }, undefined);
    await ended.keep({ record: recordOf('web.2'), container: 'c2' }, undefined);
    expect(ended.find('web')).toBeUndefined();
    expect(ended.find('web.2')?.container).toBe('c2');
    expect(ended.list().map(({ container }) => container)).toEqual(['c2', 'c1']);
    const later = (): Promise<readonly string[]> => {
      clock.advance(HOUR / 10);
      return directories();
    };
    await expect.poll(later, { timeout: 10_000 }).toEqual([]);
    expect(ended.find('web.1')).toBeUndefined();
  });

  it('keep the log as it was, so that who follows it goes on where they are', async () => {
    const ended = await make();
    const log = join(root, 'live-log');
    const lines = ['one', 'two', 'three'].map((text) => `2026-11-21T01:00:00.000+00:00 stdout F ${text}\n`);
    await writeFile(log, lines.join(''));
    await ended.keep({ record: recordOf('t1'), container: 'c1' }, log);
    const found = ended.find('t1')!;
    const from = Buffer.byteLength(lines[0] + lines[1]!);
    expect((await ended.logs(found, from)).entries).toEqual([{ stream: 'stdout', text: 'three\n' }]);
    await ended.keep({ record: recordOf('t2'), container: 'c2' }, join(root, 'never-made'));
    expect(await ended.logs(ended.find('t2')!, 0)).toEqual({ entries: [], next: 0 });
  });

  it('are dropped where the disk is full, too many, or nothing is to be kept', async () => {
    diskUsed = 0.99;
    const full = await make();
    for (const id of ['t1', 't2', 't3', 't4'])
      await full.keep({ record: recordOf(id), container: `c-${id}` }, undefined);
    expect(await directories()).toEqual([]);
    diskUsed = 0;
    for (const id of ['t1', 't2', 't3', 't4'])
      await full.keep({ record: recordOf(id), container: `c-${id}` }, undefined);
    expect(await directories()).toEqual(['c-t2', 'c-t3', 'c-t4']);
    const none = await make({ keepMs: 0 });
    await mkdir(join(root, 'c9', 'sandbox'), { recursive: true });
    await none.keep({ record: recordOf('t9'), container: 'c9' }, undefined);
    expect(await directories()).toEqual([]);
  });

  it('are not kept by half: what cannot be written is removed', async () => {
    const ended = await make();
    await mkdir(join(root, 'c1', 'log'), { recursive: true });
    await ended.keep({ record: recordOf('t1'), container: 'c1' }, undefined);
    expect(await directories()).toEqual([]);
    expect(ended.find('t1')).toBeUndefined();
  });

  it('outlive their agent; what a crash left of unknown tasks does not', async () => {
    const first = await make();
    await first.keep({ record: recordOf('t1'), container: 'c1' }, undefined);
    for (const name of ['c2', 'c3', 'c4']) await mkdir(join(root, name, 'sandbox'), { recursive: true });
    await writeFile(join(root, 'c4', 'ended.json'), '{"record": {}}');
    const second = await make({}, ['c3']);
    expect(await directories()).toEqual(['c1', 'c3']);
    expect(second.find('t1')?.container).toBe('c1');
  });
});
