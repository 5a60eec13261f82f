/** Getting inside a lab host: with the caller's terminal, or for its output. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { PortolanError } from '../base/errors.ts';
import { packageRoot } from '../base/package-root.ts';
import { mustRun, runCommand, type CommandOptions, type CommandResult } from '../runtime/command.ts';
import { enterHost, hostExists } from './host.ts';
import { hostPaths } from './paths.ts';
import { findHost } from './plan.ts';
import { requireLabState } from './state.ts';

/** The words before a command that make it run inside the host. */
export async function hostPrefix(lab: string, hostName: string): Promise<readonly string[]> {
  const state = await requireLabState(lab);
  const paths = hostPaths(lab, findHost(lab, state.hosts, hostName).name);
  if (await hostExists(paths)) return enterHost(paths);
  throw new PortolanError('unavailable', `Cannot enter host "${hostName}": it is off`, {
    remedy: `run "portolan lab start ${hostName}"`,
  });
}

/** The words of a command for its host: run where the caller is if the host has that place, with `portolan` on its path. */
export async function labWords(
  lab: string,
  host: string,
  argv: readonly string[],
): Promise<readonly string[]> {
  // Entering a mount namespace ends in its root.
  const script = 'cd "$1" 2>/dev/null; PATH="$2:$PATH"; shift 2; exec "$@"';
  const shell = ['sh', '-c', script, 'lab-exec', process.cwd(), join(packageRoot, 'bin')];
  return [...(await hostPrefix(lab, host)), ...shell, ...argv];
}

/** Runs a command with this process's terminal; resolves to its exit status as a shell would say it. */
export async function labExec(lab: string, host: string, argv: readonly string[]): Promise<number> {
  const [program = '', ...args] = await labWords(lab, host, argv);
  // Ctrl-C reaches the command through the terminal; this process stays to hand on its status.
  const ignore = (): void => undefined;
  process.on('SIGINT', ignore);
  try {
    return await new Promise<number>((resolve, reject) => {
      const child = spawn(program, args, { stdio: 'inherit' });
      child.once('error', reject);
      child.once('close', (code, signal) =>
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
      );
    });
  } finally {
    process.off('SIGINT', ignore);
  }
}

/** Runs a command in the host and takes its output; any exit status is a result. */
export async function runInHost(
  lab: string,
  host: string,
  argv: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  return runCommand([...(await hostPrefix(lab, host)), ...argv], options);
}

/** The same for a command that must succeed; resolves to its standard output. */
export async function inHost(
  lab: string,
  host: string,
  argv: readonly string[],
  options: CommandOptions,
): Promise<string> {
  return mustRun([...(await hostPrefix(lab, host)), ...argv], options);
}
