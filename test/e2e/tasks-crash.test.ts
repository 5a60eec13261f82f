/**
 * An agent that is killed at each point of a launch: the next one ends with the task running, in one container, and with
 * nothing left once the task is gone.
 *
 * The programs that a launch runs are wrapped: told so, a wrapper kills the agent with SIGKILL before or after its program.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'rolldown';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { removeCgroupParent } from '../../src/runtime/cgroup.ts';
import { launchOf } from '../../src/model/task-fake.ts';
import type { TaskLaunch, TaskRecord } from '../../src/model/task.ts';

const WAIT = { timeout: 60_000, interval: 50 };
/** Among the built files, where the modules are found that it loads. */
const PROGRAM = join(import.meta.dirname, '..', '..', 'dist', 'test', 'task-agent.js');
const wrapped = ['unshare', 'mount', 'conmon', 'runc'];
let directory = '';
let agent: ChildProcess | undefined;
let told = new Map<string, TaskRecord | null>();

const find = (program: string): string =>
  execFileSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin; command -v ${program}`], {
    encoding: 'utf8',
  }).trim();

/** `crash` holds `before NAME` or `after NAME`; of runc only `start` counts, of the plug-in only ADD. */
const killing = (name: string): string => `
crash() {
  [ "$(cat "$DIR/crash" 2>/dev/null)" = "$1 ${name}" ] || return 0
  rm "$DIR/crash"
  kill -9 "$AGENT_PID"
}`;

const wrapper = (name: string, program: string): string => `#!/bin/sh
DIR=${directory}
${killing(name)}
counts=yes
${name === 'runc' ? 'case " $* " in *" start "*) ;; *) counts=no ;; esac' : ''}
[ $counts = yes ] && crash before
${program} "$@"
status=$?
[ $counts = yes ] && crash after
exit $status
`;

const plugin = (): string => `#!/bin/sh
DIR=${directory}
${killing('plugin')}
cat > /dev/null
echo "$CNI_COMMAND $CNI_CONTAINERID" >> "$DIR/calls"
[ "$CNI_COMMAND" = ADD ] && crash before
echo '{"cniVersion":"1.0.0","ips":[{"address":"9.0.1.2/25"}]}'
[ "$CNI_COMMAND" = ADD ] && crash after
exit 0
`;

beforeAll(async () => {
  await build({
    input: join(import.meta.dirname, '..', 'support', 'task-agent.mjs'),
    platform: 'node',
    external: ['koffi', 'lmdb'],
    output: { file: PROGRAM, format: 'esm' },
    logLevel: 'warn',
  });
});

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'plb-crash-'));
  told = new Map();
  for (const each of ['bin', 'cni', 'run', 'state']) await mkdir(join(directory, each));
  for (const name of wrapped)
    await writeFile(join(directory, 'bin', name), wrapper(name, find(name)), { mode: 0o755 });
  await writeFile(join(directory, 'bin', 'portolan-cni'), plugin(), { mode: 0o755 });
  const list = { cniVersion: '1.0.0', name: 'dcos', plugins: [{ type: 'portolan-cni' }] };
  await writeFile(join(directory, 'cni', 'dcos.conflist'), JSON.stringify(list));
});

afterEach(async () => {
  await stop('SIGKILL');
  await removeCgroupParent();
  await rm(directory, { recursive: true, force: true });
});

/** Starts an agent with this list. */
async function start(launches: readonly TaskLaunch[]): Promise<ChildProcess> {
  await writeFile(join(directory, 'launches.json'), JSON.stringify(launches));
  const env = { ...process.env, PATH: `${directory}/bin:${process.env['PATH'] ?? ''}` };
  const child = spawn(process.execPath, [PROGRAM, directory], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let rest = '';
  child.stdout.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const { key, value } = JSON.parse(line) as { key: string; value: TaskRecord | null };
      told.set(key.replace('node/n1/task/', ''), value);
    }
  });
  agent = child;
  return child;
}

async function stop(signal: NodeJS.Signals): Promise<void> {
  const child = agent;
  agent = undefined;
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await new Promise((resolve) => child.once('close', resolve));
}

async function remains(): Promise<readonly string[]> {
  const lines = (text: string): readonly string[] =>
    text.split('\n').filter((line) => line.includes(directory) && !line.includes('task-agent.js'));
  const below = (...path: string[]): Promise<string[]> => readdir(join(directory, ...path)).catch(() => []);
  return [
    ...lines(await readFile('/proc/self/mountinfo', 'utf8')),
    ...lines(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })),
    ...(await below('state', 'containers')),
    ...(await below('state', 'tasks')),
    ...(await below('run', 'netns')),
  ];
}

const points = ['unshare', 'plugin', 'mount', 'conmon', 'runc'].flatMap((name) => [
  `before ${name}`,
  `after ${name}`,
]);

describe('an agent that is killed in the middle of a launch', () => {
  it.each(points)('%s: the next one brings the task about', async (point) => {
    await writeFile(join(directory, 'crash'), point);
    const first = await start([launchOf('t1')]);
    await expect.poll(() => first.signalCode, WAIT).toBe('SIGKILL');
    await start([launchOf('t1')]);
    await expect.poll(() => told.get('t1')?.state, WAIT).toBe('TASK_RUNNING');
    expect(await readdir(join(directory, 'state', 'containers'))).toHaveLength(1);
    await stop('SIGTERM');
    await start([]);
    await expect.poll(() => told.get('t1'), WAIT).toBeNull();
    await expect.poll(remains, WAIT).toEqual([]);
    const calls = (await readFile(join(directory, 'calls'), 'utf8')).trim().split('\n');
    const count = (verb: string): number => calls.filter((call) => call.startsWith(verb)).length;
    expect(count('DEL')).toBeGreaterThanOrEqual(count('ADD'));
  });
});

it('a task outlives its agent, and how it ended meanwhile is learnt by the next', async () => {
  const runs = launchOf('t1');
  const ends = launchOf('t2', { shell: 'while ! [ -e go ]; do sleep 0.05; done; exit 9' });
  const first = await start([runs, ends]);
  for (const id of ['t1', 't2']) await expect.poll(() => told.get(id)?.state, WAIT).toBe('TASK_RUNNING');
  const container = told.get('t1')?.container;
  first.kill('SIGKILL');
  await expect.poll(() => first.signalCode, WAIT).toBe('SIGKILL');
  for (const each of await readdir(join(directory, 'state', 'tasks')))
    await writeFile(join(directory, 'state', 'tasks', each, 'sandbox', 'go'), '');
  told.clear();
  await start([runs, ends]);
  await expect.poll(() => told.get('t2')?.exit_code, WAIT).toBe(9);
  expect(told.get('t1')).toMatchObject({ state: 'TASK_RUNNING', container });
  await stop('SIGTERM');
  await start([]);
  await expect.poll(remains, WAIT).toEqual([]);
});
