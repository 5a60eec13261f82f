/** Answers HTTP requests by a route table: matching, reading and checking, errors in Marathon's bodies. */
import type { Context } from 'hono';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { z } from 'zod';
import { parseInput, Refused } from '../../apps/issues.ts';
import type { Log } from '../../base/log.ts';
import { errorReply, Unreadable } from './errors.ts';
import { queryOf, type Call, type Reply, type Route, type RouteTable } from './routes.ts';

/** `undefined` = the table knows no such path. */
export async function dispatch(
  table: RouteTable,
  context: Context,
  { log }: { readonly log: Log },
): Promise<Response | undefined> {
  const url = new URL(context.req.url);
  const match = table.match(context.req.method, url.pathname);
  if (match === undefined) return undefined;
  if ('allowed' in match)
    return send(context, {
      status: 405,
      headers: { allow: match.allowed.join(', ') },
      json: { message: 'Method Not Allowed' },
    });
  try {
    return send(context, await answer(match.route, match.params, context, url));
  } catch (error) {
    const { isInternal, ...reply } = errorReply(error);
    if (isInternal) log.error('Request failed', { path: url.pathname, error, stack: stackOf(error) });
    return send(context, reply);
  }
}

const stackOf = (error: unknown): string | undefined => (error instanceof Error ? error.stack : undefined);

async function answer(
  route: Route,
  params: Call<never, never>['params'],
  context: Context,
  url: URL,
): Promise<Reply> {
  const { incoming, outgoing } = (context.env ?? {}) as {
    incoming?: IncomingMessage;
    outgoing?: ServerResponse;
  };
  const call: Call<unknown, unknown> = {
    params,
    query: readQuery(route, url),
    body: route.body === undefined ? undefined : parseInput(route.body, await readBody(context)),
    request: {
      uri: url.pathname + url.search,
      accept: context.req.header('accept') ?? '',
      remote: incoming?.socket.remoteAddress ?? '',
      outgoing,
    },
  };
  return await route.handle(call as Call<never, never>);
}

function readQuery(route: Route, url: URL): unknown {
  const parsed = (route.query ?? z.object({})).safeParse(queryOf(url.searchParams));
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map((issue) => ({
    path: `?${issue.path.join('.')}`,
    errors: [issue.message],
  }));
  throw new Refused('rules', issues);
}

async function readBody(context: Context): Promise<unknown> {
  const type = context.req.header('content-type');
  if (type !== undefined && !/^application\/([\w.-]+\+)?json\b/i.test(type))
    throw new Unreadable(415, {
      message: 'Please specify data in JSON format',
      details: `content type ${type.slice(0, 80)}: send application/json`,
    });
  const text = await context.req.text();
  if (text.trim() === '')
    throw new Unreadable(400, {
      message: 'Please specify data in JSON format',
      details: 'the body is empty',
    });
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Unreadable(400, { message: 'Invalid JSON', details: (error as SyntaxError).message });
  }
}

export function send(context: Context, reply: Reply): Response {
  if (reply.isSent === true) return RESPONSE_ALREADY_SENT;
  const status = (reply.status ?? 200) as 200;
  if (reply.text !== undefined)
    return context.body(reply.text, status, { 'content-type': 'text/plain', ...reply.headers });
  const raw = reply.raw ?? (reply.json === undefined ? undefined : JSON.stringify(reply.json));
  if (raw === undefined) return context.body(null, status, reply.headers);
  return context.body(raw, status, { 'content-type': 'application/json', ...reply.headers });
}
