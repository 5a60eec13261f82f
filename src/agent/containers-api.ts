/** Native containers over the agent's API. Only for the unix socket: whoever may start a container is root. */
import type { Hono } from 'hono';
import { z } from 'zod';
import { CONTAINERS_PATH, containerRequest } from '../model/container.ts';
import type { Containers } from './container-types.ts';

const logOffset = z.coerce.number().int().nonnegative().default(0);

export function addContainerRoutes(app: Hono, components: { readonly containers: Containers }): void {
  const { containers } = components;
  app.get(CONTAINERS_PATH, async (context) =>
    context.json({ runc_root: containers.runcRoot, containers: await containers.list() }),
  );
  app.post(CONTAINERS_PATH, async (context) =>
    context.json(await containers.run(containerRequest.parse(await context.req.json())), 201),
  );
  app.get(`${CONTAINERS_PATH}/:id`, async (context) =>
    context.json(await containers.inspect(context.req.param('id'))),
  );
  app.get(`${CONTAINERS_PATH}/:id/logs`, async (context) => {
    const from = logOffset.parse(context.req.query('from'));
    return context.json(await containers.logs(context.req.param('id'), from));
  });
  app.delete(`${CONTAINERS_PATH}/:id`, async (context) => {
    await containers.remove(context.req.param('id'), { force: context.req.query('force') === 'true' });
    return context.json({});
  });
}
