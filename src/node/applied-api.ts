/** `GET /v1/applied`: how far the masters' changes have come; the same on masters and agents. */
import type { Hono } from 'hono';
import { z } from 'zod';
import type { AppliedView } from './applied-view.ts';

/** Longer waits ask again. */
const MAX_WAIT_S = 300;

const query = z.object({
  /** The newest known when absent. */
  revision: z.coerce.number().int().nonnegative().optional(),
  /** Seconds to wait until every reachable agent has it. */
  wait: z.coerce.number().nonnegative().max(MAX_WAIT_S).default(0),
});

export function addAppliedRoutes(app: Hono, components: { readonly applied: AppliedView }): void {
  app.get('/v1/applied', async (context) => {
    const { revision, wait } = query.parse(context.req.query());
    const { signal } = context.req.raw;
    return context.json(await components.applied.wait(revision, { timeoutMs: wait * 1000, signal }));
  });
}
