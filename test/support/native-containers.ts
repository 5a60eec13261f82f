/** Native containers that live in one directory of a test, and what is left of them there and elsewhere. */
import { execFileSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Containers, ContainersInit } from '../../src/agent/container-types.ts';
import { openContainers } from '../../src/agent/containers.ts';
import { realClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { realRandom } from '../../src/base/random.ts';

/** The plug-in is to be in `directory`, lists of networks in its `cni`. */
export function openTestContainers(
  directory: string,
  init: Partial<ContainersInit> & Pick<ContainersInit, 'overlays'>,
): Promise<Containers> {
  return openContainers(
    { log: silentLog, clock: realClock, random: realRandom },
    {
      stateDir: join(directory, 'state'),
      runDir: join(directory, 'run'),
      cniDir: join(directory, 'cni'),
      pluginDirectories: [directory],
      dnsServers: () => [],
      attached: () => true,
      ...init,
    },
  );
}

/** Mounts, processes, directories and namespaces; `own` are lines of mounts that the test itself has made. */
export async function remainsIn(
  directory: string,
  own: (line: string) => boolean = () => false,
): Promise<readonly string[]> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8'))
    .split('\n')
    .filter((line) => line.includes(directory) && !own(line));
  const processes = execFileSync('ps', ['-eo', 'stat,args'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(directory) && !line.startsWith('Z'));
  const below = (...path: string[]): Promise<string[]> => readdir(join(directory, ...path)).catch(() => []);
  return [
    ...mounts,
    ...processes,
    ...(await below('state', 'containers')),
    ...(await below('state', 'tasks')),
    ...(await below('run', 'netns')),
  ];
}
