/** `GET /v2/events`: the way into the event stream. */
import { z } from 'zod';
import { PortolanError } from '../../base/errors.ts';
import type { MarathonComponents } from './api.ts';
import { Unreadable } from './errors.ts';
import { many, route, type Route } from './routes.ts';

export function streamRoute({ events }: MarathonComponents): Route {
  return route({
    method: 'GET',
    path: '/v2/events',
    summary: 'Events as they happen, as server-sent events',
    query: z.object({ event_type: many.optional(), 'plan-format': z.enum(['light', 'full']).optional() }),
    answers: { 200: 'text/event-stream', 405: 'Accept is not text/event-stream', 503: 'Too many clients' },
    handle: ({ query, request }) => {
      if (!request.accept.includes('text/event-stream'))
        throw new Unreadable(405, {
          message: 'Method Not Allowed',
          details: 'send the header Accept: text/event-stream',
        });
      const filter = { types: new Set(query.event_type), isLight: query['plan-format'] === 'light' };
      if (request.outgoing === undefined)
        throw new PortolanError('internal', 'Cannot stream: the request has no connection');
      if (!events.attach(request.outgoing, filter, request.remote))
        throw new PortolanError('unavailable', 'Cannot stream: too many clients listen already', {
          remedy: 'close some of them',
        });
      return { isSent: true };
    },
  });
}
