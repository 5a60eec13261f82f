/** Tasks as an agent's own API speaks of them. */
import { z } from 'zod';
import { taskRecord } from './task.ts';

/** `GET`: of this host. Below it `/<id>`, `/<id>/logs?from=<next>` (shape of containers' logs), `/<id>/exec`. */
export const TASKS_LOCAL_PATH = '/v1/tasks';

export const localTasks = z.object({ tasks: z.array(taskRecord) });

/** `GET /v1/tasks/<id>/exec?terminal=true|false`: the words before a command that runs in the task's container. */
export const taskExec = z.object({ words: z.array(z.string()).min(1) });
