/** Following what a task writes until it has ended, as `docker logs -f` does; a restart of its agent is waited out. */
import { sleep } from '../base/clock.ts';
import { isPortolanError } from '../base/errors.ts';
import { isTerminal, taskRecord } from '../model/task.ts';
import type { CliContext } from './context.ts';
import { printLogAt } from './follow-log.ts';
import { patient } from './patience.ts';
import { localPath, type TaskHost } from './task-host.ts';

const POLL_MS = 200;

export async function followTask(asking: CliContext, { task, agent }: TaskHost): Promise<void> {
  const context = patient(asking);
  const path = localPath(task.id);
  for (let next = 0; ;) {
    try {
      // Asked first: what it wrote before it ended is in the log then.
      const { state } = taskRecord.parse(await context.call(agent, { method: 'GET', path }));
      next = await printLogAt(context, `${path}/logs`, next, agent);
      if (isTerminal(state)) return;
    } catch (error) {
      // It has ended on a host where nothing is kept of that.
      if (isPortolanError(error, 'not-found')) return;
      throw error;
    }
    await sleep(POLL_MS);
  }
}
