/** JSON as the Mesos endpoints answer it: the `jsonp` query, and 415 for media types we do not speak. */
import type { Context } from 'hono';
import { PortolanError } from '../base/errors.ts';

/** True when `Accept` is absent or admits JSON; quality values do not matter with one type to offer. */
export function acceptsJson(accept: string | undefined): boolean {
  if (accept === undefined || accept.trim() === '') return true;
  const types = accept.split(',').map((part) => (part.split(';')[0] ?? '').trim().toLowerCase());
  return types.some((type) => ['application/json', 'application/*', '*/*', 'text/javascript'].includes(type));
}

/** With `?jsonp=NAME` a call of that function, as Mesos does. */
export function sendJson(context: Context, value: unknown): Response {
  const callback = context.req.query('jsonp');
  if (callback === undefined) return context.body(JSON.stringify(value), 200, jsonHeaders);
  // Anything but a name would let a link make this server's answer run foreign script.
  if (!/^[A-Za-z_$][\w$.]{0,255}$/.test(callback))
    throw new PortolanError('invalid', `Cannot call "${callback.slice(0, 80)}"`, {
      field: 'jsonp',
      remedy: 'give the name of a JavaScript function',
    });
  return context.body(`${callback}(${JSON.stringify(value)});`, 200, { 'content-type': 'text/javascript' });
}

const jsonHeaders = { 'content-type': 'application/json' };
