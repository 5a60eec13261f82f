/** What any `Containerizer` must do: run on native containers and on a real dockerd. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { launchOf } from '../model/task-fake.ts';
import { readLog } from './container-log.ts';
import { SANDBOX, type Containerizer, type ContainerOrder, type TaskContainer } from './containerizer.ts';

export interface ContainerizerUnderTest {
  readonly containerizer: Containerizer;
  /** Members of a launch that make it run here: the image, the network. */
  readonly base: Readonly<Record<string, unknown>>;
  /** An image that is nowhere. */
  readonly noImage: string;
  /** The agent that made the containers is gone: another takes its place. */
  again(): Promise<Containerizer>;
  /** Whatever is left of containers: processes, mounts, directories, namespaces. */
  remains(): Promise<readonly string[]>;
}

const WAIT = { timeout: 30_000, interval: 50 };
const never = { signal: new AbortController().signal, starting: () => undefined };

export function containerizerContract(name: string, subject: () => ContainerizerUnderTest): void {
  describe(`${name} as a containerizer`, () => {
    let directory = '';
    const made: string[] = [];

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'plb-order-'));
    });
    afterEach(async () => {
      for (const id of made.splice(0)) await subject().containerizer.remove(id);
      await rm(directory, { recursive: true, force: true });
    });

    const order = (shell: string, change: Readonly<Record<string, unknown>> = {}): ContainerOrder => {
      const id = randomBytes(16).toString('hex');
      made.push(id);
      const launch = launchOf(`task.${id}`, {
        runtime: subject().containerizer.runtime,
        shell,
        env: { WORD: 'said' },
        labels: { a: 'b' },
        networks: [{ mode: 'host' }],
        ...subject().base,
        ...change,
      });
      return { id, launch, sandbox: directory };
    };
    const start = (each: ContainerOrder): Promise<TaskContainer> =>
      subject().containerizer.launch(each, never);
    const find = (id: string): Promise<TaskContainer | undefined> => subject().containerizer.find(id);
    const ends = async (id: string): Promise<TaskContainer | undefined> => {
      await expect.poll(async () => (await find(id))?.state, WAIT).not.toBe('running');
      return find(id);
    };
    const said = async (id: string): Promise<string> =>
      (await readLog(await subject().containerizer.logPath(id), 0)).entries.map(({ text }) => text).join('');

    test('a task runs with its environment in its sandbox, is found, ends with its status and leaves its log', async () => {
      const each = order(`echo $WORD > ${SANDBOX}/word; echo out; echo err >&2; sleep 0.5; exit 3`);
      const started = await start(each);
      expect(started).toMatchObject({ id: each.id, task: each.launch.id, state: 'running' });
      expect((await subject().containerizer.list()).map(({ id }) => id)).toContain(each.id);
      expect(await ends(each.id)).toMatchObject({ state: 'ended', exitCode: 3, outOfMemory: false });
      await subject().containerizer.release(each.id);
      expect(await readFile(join(directory, 'word'), 'utf8')).toBe('said\n');
      await expect.poll(() => said(each.id), WAIT).toContain('out\n');
      expect(await said(each.id)).toContain('err\n');
      await subject().containerizer.remove(each.id);
      expect(await find(each.id)).toBeUndefined();
      expect(await subject().remains()).toEqual([]);
      await expect(
        subject()
          .containerizer.logPath(each.id)
          .catch(() => 'none'),
      ).resolves.toBe('none');
    });

    test('a shell line ends at SIGTERM; what does not listen at SIGKILL', async () => {
      const kind = order('trap "exit 5" TERM; while :; do sleep 0.1; done');
      await start(kind);
      const deaf = order('trap "" TERM; while :; do sleep 0.1; done');
      await start(deaf);
      const { containerizer } = subject();
      // Its trap may not be set yet.
      await expect
        .poll(async () => {
          await containerizer.signal(kind.id, 'SIGTERM');
          return (await find(kind.id))?.state;
        }, WAIT)
        .toBe('ended');
      await containerizer.signal(deaf.id, 'SIGKILL');
      expect(await ends(deaf.id)).toMatchObject({ exitCode: 137 });
      await containerizer.signal(deaf.id, 'SIGKILL');
    });

    test('a program that does not exist is refused by name, and leaves nothing', async () => {
      const each = order('', { shell: undefined, argv: ['nosuchprogram'] });
      await expect(start(each)).rejects.toThrow(/nosuchprogram/);
      expect(await find(each.id)).toBeUndefined();
      expect(await subject().remains()).toEqual([]);
    });

    test('an image that does not exist is refused by name, and leaves nothing', async () => {
      const image = { name: subject().noImage, force_pull: false };
      const each = order('true', { image });
      await expect(start(each)).rejects.toThrow(subject().noImage);
      expect(await subject().remains()).toEqual([]);
    });

    test('a volume of the host is seen, read-only where that is asked for; one that is not there is refused', async () => {
      const outside = await mkdtemp(join(tmpdir(), 'plb-volume-'));
      try {
        await writeFile(join(outside, 'given'), 'x');
        const volume = { kind: 'host', container_path: '/mnt/given', host_path: outside, read_only: true };
        const each = order('cat /mnt/given/given && ! touch /mnt/given/more', { volumes: [volume] });
        await start(each);
        expect(await ends(each.id)).toMatchObject({ exitCode: 0 });
        const nowhere = { ...volume, host_path: join(outside, 'nowhere') };
        await expect(start(order('true', { volumes: [nowhere] }))).rejects.toThrow(/nowhere/);
      } finally {
        await rm(outside, { recursive: true, force: true });
      }
    });

    test('a persistent volume is the next task’s as well', async () => {
      const volumes = [
        { kind: 'persistent', id: '/t#data', container_path: 'data', size_mib: 10, read_only: false },
      ];
      const first = order(`echo kept > ${SANDBOX}/data/file`, { volumes });
      await start(first);
      await ends(first.id);
      await subject().containerizer.remove(first.id);
      const second = order(`grep kept ${SANDBOX}/data/file`, { volumes });
      await start(second);
      expect(await ends(second.id)).toMatchObject({ exitCode: 0 });
    });

    test('a task that uses more memory than it may is ended, and that is known', async () => {
      const each = order('a=x; while :; do a=$a$a; done');
      await start(each);
      expect(await ends(each.id)).toMatchObject({ state: 'ended', exitCode: 137, outOfMemory: true });
    });

    test('a command in it says how it ended; one that takes too long is ended', async () => {
      const each = order('sleep 1000');
      await start(each);
      const { containerizer } = subject();
      const run = (shell: string, timeoutMs: number) => containerizer.exec(each.id, shell, { timeoutMs });
      expect(await run('echo well; exit 4', 20_000)).toEqual({ exitCode: 4, output: 'well\n' });
      await expect(run('exec sleep 321', 1000)).rejects.toThrow(/no end within|in time/);
      const left = async (): Promise<boolean> =>
        /sleep\W321/.test((await run('cat /proc/[0-9]*/cmdline', 20_000)).output);
      await expect.poll(left, WAIT).toBe(false);
      expect((await containerizer.execWords(each.id, { terminal: false })).length).toBeGreaterThan(1);
    });

    test('another agent finds what runs, and learns how that ended which ended meanwhile', async () => {
      const runs = order('sleep 1000');
      const ended = order(`while ! [ -e ${SANDBOX}/go ]; do sleep 0.05; done; exit 9`);
      await start(runs);
      await start(ended);
      const second = await subject().again();
      expect(await second.find(runs.id)).toMatchObject({ state: 'running', task: runs.launch.id });
      await writeFile(join(directory, 'go'), '');
      await expect.poll(async () => (await second.find(ended.id))?.exitCode, WAIT).toBe(9);
      await second.remove(runs.id);
      expect(await second.find(runs.id)).toBeUndefined();
    });

    test('a task has a terminal where it asks for one', async () => {
      const each = order('test -t 0 && test -t 1 && echo yes', { tty: true });
      await start(each);
      expect(await ends(each.id)).toMatchObject({ exitCode: 0 });
      await expect.poll(() => said(each.id), WAIT).toContain('yes');
    });

    test('a launch that is stopped leaves nothing', async () => {
      const abort = new AbortController();
      const each = order('sleep 1000');
      const launched = subject().containerizer.launch(each, {
        signal: abort.signal,
        starting: () => abort.abort(new Error('stopped')),
      });
      await expect(launched).rejects.toThrow('stopped');
      expect(await find(each.id)).toBeUndefined();
      expect(await subject().remains()).toEqual([]);
    });

    test('a program runs as the user that is asked for, and not as one that is not there', async () => {
      const each = order('id -u; id -g', { user: '1234:1235' });
      await start(each);
      await ends(each.id);
      await expect.poll(() => said(each.id), WAIT).toBe('1234\n1235\n');
      await writeFile(join(directory, 'fetched'), 'x');
      const writes = order(`echo more >> ${SANDBOX}/fetched && touch ${SANDBOX}/new`, { user: '1234:1235' });
      await start(writes);
      expect(await ends(writes.id)).toMatchObject({ exitCode: 0 });
      await expect(start(order('true', { user: 'nobodyknows' }))).rejects.toThrow(/nobodyknows/);
    });
  });
}
