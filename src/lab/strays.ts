/**
 * Daemons of a lab that nobody has a record of.
 *
 * `lab up` records what it starts a moment after it started it; killed in between, it leaves a daemon that the next one
 * does not know, beside which another could not work.
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { signalProcess, waitForEnd, type ProcessIdentity } from '../runtime/process.ts';
import { hostPaths } from './paths.ts';
import { namespaceInodes, processesIn } from './processes.ts';
import type { LabState } from './state.ts';

const END_TIMEOUT_MS = 5_000;

/** Ends every daemon in the lab's hosts that `state` does not record. They stand that: it is what a power cut does. */
export async function endStrays(state: LabState): Promise<void> {
  const paths = state.hosts.map((host) => hostPaths(state.name, host.name));
  const namespaces = await namespaceInodes(paths.flatMap((host) => [host.netns, host.mountns, host.utsns]));
  const recorded = new Set(state.processes.map(nameOf));
  const strays = processesIn(namespaces).filter(
    (each) => !recorded.has(nameOf(each)) && isDaemon(argumentsOf(each.pid)),
  );
  for (const each of strays) signalProcess(each, 'SIGKILL');
  await waitForEnd(strays, END_TIMEOUT_MS);
}

function nameOf({ pid, startTime }: ProcessIdentity): string {
  return `${pid} ${startTime}`;
}

/** Empty when the process has ended meanwhile. */
function argumentsOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

/** By what `startDaemon`, `startProxy` and `startDockerd` start, also while nsenter or the shell has not exec'd yet. */
export function isDaemon(argv: readonly string[]): boolean {
  const [kind = '', option, config] = argv.slice(-3);
  if (option === '--config' && config === `/etc/portolan/${kind}.yaml`) return true;
  return basename(argv[0] ?? '') === 'dockerd' || argv.some((word) => word.endsWith('/dist/lab/proxy.js'));
}
