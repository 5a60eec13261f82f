/** Following what a task writes until it has ended, as `docker logs -f` does; a restart of its agent is waited out. */
import { sleep } from '../base/clock.ts';
import { isPortolanError } from '../base/errors.ts';
import { isTerminal, taskRecord } from '../model/task.ts';
import type { CliContext } from './context.ts';
import { printLogAt } from './follow-log.ts';
import { localPath, type TaskHost } from './task-host.ts';

const POLL_MS = 200;
/** The task goes on without its agent; an agent that is away for longer is not coming back by itself. */
const AGENT_PATIENCE_MS = 30_000;

export async function followTask(context: CliContext, { task, agent }: TaskHost): Promise<void> {
  const path = localPath(task.id);
  let next = 0;
  let answeredMs = performance.now();
  for (;;) {
    try {
      // Asked first: what it wrote before it ended is in the log then.
      const { state } = taskRecord.parse(await context.call(agent, { method: 'GET', path }));
      next = await printLogAt(context, `${path}/logs`, next, agent);
      if (isTerminal(state)) return;
      answeredMs = performance.now();
    } catch (error) {
      // It has ended on a host where nothing is kept of that.
      if (isPortolanError(error, 'not-found')) return;
      const isAway = isPortolanError(error, 'unavailable');
      if (!isAway || performance.now() - answeredMs > AGENT_PATIENCE_MS) throw error;
    }
    await sleep(POLL_MS);
  }
}
