/**
 * `runc` under `conmon`: starting, asking and ending one container.
 *
 * conmon is the parent of the container's first process. It outlives the agent, keeps the log and writes the exit
 * status to a file, so that an agent restarted later knows what happened meanwhile.
 */
import { spawn } from 'node:child_process';
import { constants, existsSync } from 'node:fs';
import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { z } from 'zod';
import { describeError, PortolanError } from '../base/errors.ts';
import { mustRun, runCommand } from './command.ts';
import { processIdentity, signalProcess, waitForEnd, type ProcessIdentity } from './process.ts';

const RUNC_TIMEOUT_MS = 20_000;
const KILL_TIMEOUT_MS = 5_000;
/** conmon makes this file, in its working directory. */
const OOM_FILE = 'oom';
const REOPEN_LOGS = '2 0 0\n';
const LOG_MAX_BYTES = 16 * 1024 * 1024;

/** One container's files. */
export interface ContainerPaths {
  readonly id: string;
  /** Holds `config.json`. */
  readonly bundle: string;
  readonly log: string;
  readonly pidFile: string;
  readonly conmonPidFile: string;
  readonly exitDirectory: string;
  /** runc's own state; lost at reboot as it should be. */
  readonly runcRoot: string;
}

export function containerPaths(directory: string, id: string, runcRoot: string): ContainerPaths {
  return {
    id,
    bundle: directory,
    log: join(directory, 'log'),
    pidFile: join(directory, 'pid'),
    conmonPidFile: join(directory, 'conmon.pid'),
    exitDirectory: join(directory, 'exit'),
    runcRoot,
  };
}

const MAX_CREATES = 3;
const SWEPT = /unable to apply cgroup configuration: mkdir .*no such file or directory/;

/** conmon's answer on its synchronisation pipe: the container's pid, or -1 and why. */
const syncMessage = z.looseObject({
  pid: z.int().optional(),
  data: z.int().optional(),
  message: z.string().optional(),
});

/** `runc create` and `runc start` under a conmon of its own; resolves to the container's first process. */
export async function startContainer(
  paths: ContainerPaths,
  options: { readonly terminal?: boolean } = {},
): Promise<ProcessIdentity> {
  await mkdir(paths.exitDirectory, { recursive: true });
  await mkdir(paths.runcRoot, { recursive: true });
  const pid = await createDespiteSweeps(paths, options.terminal === true ? ['--terminal'] : []);
  // Read while it waits to be started, so it cannot have ended.
  const identity = processIdentity(pid);
  if (identity === undefined)
    throw new PortolanError('internal', `Cannot start container "${paths.id}": process ${pid} has ended`);
  await mustRun(runc(paths, 'start', paths.id), { timeoutMs: RUNC_TIMEOUT_MS });
  return identity;
}

export function runc(
  paths: Pick<ContainerPaths, 'runcRoot'>,
  ...words: readonly string[]
): readonly string[] {
  return ['runc', '--root', paths.runcRoot, ...words];
}

/** conmon wants a path, not a name. */
function runcProgram(): string {
  const directories = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/bin:/sbin`.split(':');
  const found = directories.map((each) => join(each, 'runc')).find((each) => existsSync(each));
  if (found !== undefined) return found;
  throw new PortolanError('unavailable', 'Cannot start containers: "runc" is not installed', {
    remedy: 'install the packages runc and conmon',
  });
}

function conmonArguments(paths: ContainerPaths): readonly string[] {
  return [
    '--api-version',
    '1',
    '--cid',
    paths.id,
    '--cuuid',
    paths.id,
    '--name',
    paths.id,
    '--runtime',
    runcProgram(),
    '--runtime-arg',
    '--root',
    '--runtime-arg',
    paths.runcRoot,
    '--bundle',
    paths.bundle,
    '--exit-dir',
    paths.exitDirectory,
    '--container-pidfile',
    paths.pidFile,
    '--conmon-pidfile',
    paths.conmonPidFile,
    '--log-path',
    `k8s-file:${paths.log}`,
    '--log-size-max',
    String(LOG_MAX_BYTES),
    '--socket-dir-path',
    paths.bundle,
    '--full-attach',
  ];
}

async function createUnderConmon(paths: ContainerPaths, options: readonly string[]): Promise<number> {
  // Descriptor 3 is the synchronisation pipe; conmon forks away and tells there how `runc create` went.
  const child = spawn('conmon', [...conmonArguments(paths), ...options], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    detached: true,
    // It notes there that the kernel has ended the container for want of memory.
    cwd: paths.bundle,
    env: { ...process.env, _OCI_SYNCPIPE: '3' },
  });
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  const pipe = child.stdio[3] as Readable;
  const text = await Promise.race([readFirstLine(pipe), failed]);
  const parsed = syncMessage.safeParse(tryParse(text));
  const pid = parsed.success ? (parsed.data.pid ?? parsed.data.data ?? -1) : -1;
  pipe.destroy();
  child.stderr?.destroy();
  child.unref();
  if (pid > 0) return pid;
  throw createFailure(parsed.success ? (parsed.data.message ?? '') : text, paths.id);
}

/**
 * The agents of one machine, as in labs, share the parent of all groups, and whoever leaves removes it when it is empty:
 * perhaps between runc's making it and its first child.
 */
async function createDespiteSweeps(paths: ContainerPaths, options: readonly string[]): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await createUnderConmon(paths, options);
    } catch (error) {
      if (attempt === MAX_CREATES || !SWEPT.test(describeError(error))) throw error;
    }
  }
}

function createFailure(message: string, id: string): PortolanError {
  const reason = runcReason(message);
  const status = programStatus(reason);
  return new PortolanError('invalid', `Cannot start container "${id}": ${reason}`, {
    remedy: 'check the program and its arguments',
    ...(status === undefined ? {} : { field: 'argv', details: { exit_status: status } }),
  });
}

/** What a shell's exit status would be for a program that is not there, or cannot be run; of other reasons, none. */
export function programStatus(reason: string): 126 | 127 | undefined {
  if (!reason.startsWith('exec: ')) return undefined;
  return /executable file not found|no such file or directory/.test(reason) ? 127 : 126;
}

/** runc's last log line (logfmt) says why: `... level=error msg="runc create failed: ... exec: \"x\": not found"`. */
export function runcReason(message: string): string {
  const line = message.trim().split('\n').at(-1) ?? '';
  const quoted = /msg=("(?:[^"\\]|\\.)*")/.exec(line)?.[1];
  if (quoted === undefined) return line === '' ? 'conmon has ended' : line;
  return quoted
    .slice(1, -1)
    .replaceAll(/\\(.)/g, '$1')
    .replace('runc create failed: unable to start container process: ', '');
}

async function readFirstLine(stream: Readable): Promise<string> {
  const deadline = setTimeout(() => stream.destroy(new Error('conmon does not answer')), RUNC_TIMEOUT_MS);
  let text = '';
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      text += chunk.toString('utf8');
      if (text.includes('\n') || text.length > LOG_MAX_BYTES) break;
    }
    return text;
  } finally {
    clearTimeout(deadline);
  }
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The exit status that conmon wrote; `undefined` while the container runs, and when conmon was killed too. */
export async function readExitCode(paths: ContainerPaths): Promise<number | undefined> {
  const text = await readFile(join(paths.exitDirectory, paths.id), 'utf8').catch(() => '');
  return /^[0-9]+$/.test(text.trim()) ? Number(text) : undefined;
}

/** True when the kernel has ended a process of it for want of memory. */
export function wasOutOfMemory(paths: ContainerPaths): boolean {
  return existsSync(join(paths.bundle, OOM_FILE));
}

/** Kills the container if it runs and forgets it in runc; harmless when there is none. */
export async function deleteContainer(
  paths: ContainerPaths,
  first: ProcessIdentity | undefined,
): Promise<void> {
  if (first !== undefined && signalProcess(first, 'SIGKILL')) await waitForEnd([first], KILL_TIMEOUT_MS);
  await runCommand(runc(paths, 'delete', '--force', paths.id), { timeoutMs: RUNC_TIMEOUT_MS });
  const conmon = await recordedConmon(paths);
  // It ends by itself once it has written the exit file.
  if (conmon === undefined) return;
  for (const each of await waitForEnd([conmon], KILL_TIMEOUT_MS)) signalProcess(each, 'SIGKILL');
}

/**
 * Begins the log anew when it has become long; the one before it is kept beside it. conmon opens it again when it is told
 * so by its control pipe (conmon's ctrl.c, REOPEN_LOGS), and cuts it off itself should nobody do this.
 */
export async function rotateLog(paths: ContainerPaths, maxBytes: number): Promise<void> {
  const { size } = await stat(paths.log).catch(() => ({ size: 0 }));
  if (size <= maxBytes) return;
  await rename(paths.log, `${paths.log}.1`);
  // Without waiting for a reader: a conmon that has ended has none.
  const pipe = await open(join(paths.bundle, 'ctl'), constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    await pipe.write(REOPEN_LOGS);
  } finally {
    await pipe.close();
  }
}

/** True while it has a conmon, which will write how it has ended. */
export async function isSupervised(paths: ContainerPaths): Promise<boolean> {
  return (await recordedConmon(paths)) !== undefined;
}

/** A pid file alone may name a stranger after a reboot: the command line must name this container. */
async function recordedConmon(paths: ContainerPaths): Promise<ProcessIdentity | undefined> {
  const pid = Number(await readFile(paths.conmonPidFile, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  return words[0]?.endsWith('conmon') === true && words.includes(paths.id) ? processIdentity(pid) : undefined;
}
