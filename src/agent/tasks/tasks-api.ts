/** Tasks over the agent's API. What they write and the way into them only on the unix socket: that is root's. */
import type { Hono } from 'hono';
import { z } from 'zod';
import { TASKS_LOCAL_PATH } from '../../model/task-api.ts';
import type { Tasks } from './tasks.ts';

const logOffset = z.coerce.number().int().nonnegative().default(0);

/** What anybody may read. */
export function addTaskRoutes(app: Hono, components: { readonly tasks: Tasks }): void {
  const { tasks } = components;
  app.get(TASKS_LOCAL_PATH, (context) => context.json({ tasks: tasks.list() }));
  app.get(`${TASKS_LOCAL_PATH}/:id`, (context) => context.json(tasks.record(context.req.param('id'))));
}

export function addLocalTaskRoutes(app: Hono, components: { readonly tasks: Tasks }): void {
  const { tasks } = components;
  app.get(`${TASKS_LOCAL_PATH}/:id/logs`, async (context) => {
    const from = logOffset.parse(context.req.query('from'));
    return context.json(await tasks.logs(context.req.param('id'), from));
  });
  app.get(`${TASKS_LOCAL_PATH}/:id/exec`, async (context) => {
    const terminal = context.req.query('terminal') === 'true';
    return context.json({ words: await tasks.execWords(context.req.param('id'), { terminal }) });
  });
}
