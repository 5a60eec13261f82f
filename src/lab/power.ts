/** Power off: everything of a host that is not its disk ends at once. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PortolanError } from '../base/errors.ts';
import { removeContainerCgroups } from '../runtime/cgroup.ts';
import { dockerCgroup } from './docker-hosts.ts';
import { removeCgroup } from './docker-processes.ts';
import { destroyHost } from './host.ts';
import { hostPaths, labPaths, type HostPaths } from './paths.ts';
import { killAll, namespaceInodes } from './processes.ts';
import { disconnectHost, silenceHost } from './underlay.ts';

/** Also of a host that is half made, or off already. */
export async function powerOff(lab: string, hostName: string): Promise<void> {
  const host = hostPaths(lab, hostName);
  // First of all: a host without power does not tell the others that its connections have ended.
  await silenceHost(labPaths(lab), host.name);
  const left = await killAll(await namespaceInodes([host.netns, host.mountns, host.utsns]));
  if (left.length > 0)
    throw new PortolanError('internal', `Cannot end process ${left[0]?.pid} of host "${host.namespace}"`);
  await Promise.all([
    removeCgroup(dockerCgroup(host)),
    ...(await nativeContainers(host)).map(removeContainerCgroups),
  ]);
  await disconnectHost(labPaths(lab), host.name);
  await destroyHost(host);
}

async function nativeContainers(host: HostPaths): Promise<readonly string[]> {
  return readdir(join(host.disk, 'portolan', 'agent', 'containers')).catch(() => []);
}
