/** Following a container: its output as it comes, until it ends, as with `docker run` and `docker logs -f`. */
import { sleep } from '../base/clock.ts';
import { CONTAINERS_PATH, containerInfo, type ContainerInfo } from '../model/container.ts';
import type { CliContext } from './context.ts';
import { printLogAt } from './follow-log.ts';
import { patient } from './patience.ts';

const POLL_MS = 100;
/** A container whose first process has ended is "lost" until its supervisor has written the exit status. */
const EXIT_STATUS_POLLS = 20;

export function containerPath(reference: string): string {
  return `${CONTAINERS_PATH}/${encodeURIComponent(reference)}`;
}

export async function inspectContainer(context: CliContext, reference: string): Promise<ContainerInfo> {
  const api = await context.agentApi();
  return containerInfo.parse(await context.call(api, { method: 'GET', path: containerPath(reference) }));
}

/** Prints what is in the log from byte `from` on, each stream to its own; resolves to where to go on. */
export function printLog(context: CliContext, reference: string, from: number): Promise<number> {
  return printLogAt(context, `${containerPath(reference)}/logs`, from);
}

/** Prints until the container has ended; resolves to what is known of it then. A restart of the agent is waited out. */
export async function followContainer(asking: CliContext, reference: string): Promise<ContainerInfo> {
  const context = patient(asking);
  let next = 0;
  for (let lost = 0; ;) {
    // Asked first: what it wrote before it ended is in the log then.
    const info = await inspectContainer(context, reference);
    next = await printLog(context, reference, next);
    if (info.state === 'lost') lost++;
    if (info.state === 'exited' || lost > EXIT_STATUS_POLLS) return info;
    await sleep(POLL_MS);
  }
}
