/** Where a task runs, seen from here: on this host, on a host of a lab on this machine, or elsewhere. */
import { existsSync } from 'node:fs';
import { isPortolanError, PortolanError } from '../base/errors.ts';
import type { HttpTarget } from '../http/client.ts';
import { hostPaths } from '../lab/paths.ts';
import { listLabs, readLabState } from '../lab/state.ts';
import { TASKS_LOCAL_PATH } from '../model/task-api.ts';
import { taskRecord, type TaskRecord } from '../model/task.ts';
import type { CliContext } from './context.ts';
import { callMarathon, tasks, type Task } from './marathon.ts';

/** An agent that can be asked from here. */
interface Place {
  /** The agent's own socket. */
  readonly agent: HttpTarget;
  /** Absent = this host. */
  readonly lab?: { readonly name: string; readonly host: string };
}

export interface TaskHost extends Place {
  readonly task: TaskRecord;
}

export const localPath = (task: string): string => `${TASKS_LOCAL_PATH}/${encodeURIComponent(task)}`;

/** `reference`: a task's id or its beginning. No master is asked, unless the task is not on any host of this machine. */
export async function findTaskHost(context: CliContext, reference: string): Promise<TaskHost> {
  for (const place of await places(context)) {
    const task = await inspectTask(context, place, reference);
    if (task !== undefined) return { ...place, task };
  }
  const { id, host } = await findTask(context, reference);
  throw new PortolanError('unavailable', `Cannot reach task "${id}" from here: it runs on ${host}`, {
    remedy: `run this command on ${host}`,
  });
}

/** `undefined` = the agent does not have it, or does not answer. */
async function inspectTask(
  context: CliContext,
  { agent }: Place,
  reference: string,
): Promise<TaskRecord | undefined> {
  try {
    const path = localPath(reference);
    return taskRecord.parse(await context.call(agent, { method: 'GET', path, timeoutMs: 5_000 }));
  } catch (error) {
    if (isPortolanError(error, 'not-found') || isPortolanError(error, 'unavailable')) return undefined;
    throw error;
  }
}

/** As the masters list it; `reference` is its id or the beginning of it. */
export async function findTask(context: CliContext, reference: string): Promise<Task> {
  const all = await callMarathon(context, tasks, { method: 'GET', path: '/v2/tasks' });
  const found = all.tasks.filter(({ id }) => id.startsWith(reference));
  const exact = found.find(({ id }) => id === reference);
  const [first] = found;
  if (first === undefined)
    throw new PortolanError('not-found', `Cannot find task "${reference}"`, {
      field: 'task',
      remedy: 'list the tasks with "portolan task ls"',
    });
  if (exact === undefined && found.length > 1)
    throw new PortolanError('conflict', `Cannot choose task "${reference}": ${found.length} begin so`, {
      field: 'task',
      remedy: 'write more of its id',
    });
  return exact ?? first;
}

async function places(context: CliContext): Promise<readonly Place[]> {
  const found: Place[] = [{ agent: await context.agentApi() }];
  for (const lab of await listLabs()) {
    const state = await readLabState(lab);
    for (const { name: host } of state?.hosts ?? []) {
      const { agentSocket } = hostPaths(lab, host);
      if (existsSync(agentSocket))
        found.push({ agent: { socketPath: agentSocket }, lab: { name: lab, host } });
    }
  }
  return found;
}
