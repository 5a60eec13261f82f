/**
 * The Mesos master's endpoints that DNS servers, load balancers and dashboards read, and the operator API.
 *
 * Each path answers under `/master/…` too, and `/state` under its old name `/state.json`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import type { Clock } from '../../base/clock.ts';
import { PortolanError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { sendJson } from '../json-answer.ts';
import type { ClusterState } from './cluster-state.ts';
import { getAgents, getFrameworks, getState, getTasks } from './operator.ts';
import {
  endpoint,
  MESOS_VERSION,
  renderAgents,
  renderFlags,
  renderFrameworks,
  renderRoles,
  renderState,
  renderSummary,
  renderTasks,
} from './state.ts';
import { Subscriptions } from './subscription.ts';

export interface MesosApiComponents {
  readonly state: ClusterState;
  readonly clock: Clock;
  readonly log: Log;
}

const page = z.object({
  limit: z.coerce.number().int().min(0).max(1_000_000).default(100),
  offset: z.coerce.number().int().min(0).default(0),
  order: z.enum(['asc', 'des']).default('des'),
  framework_id: z.string().optional(),
  task_id: z.string().optional(),
});
const call = z.object({ type: z.string() });

/** One for all doors of a master: they share the subscriptions. */
export class MesosApi {
  readonly #state: ClusterState;
  readonly #subscriptions: Subscriptions;

  constructor(components: MesosApiComponents) {
    this.#state = components.state;
    this.#subscriptions = new Subscriptions(components);
  }

  addTo(app: Hono): void {
    const get = (path: string, answer: (context: Context) => object): void => {
      for (const prefix of ['', '/master'])
        app.get(`${prefix}${path}`, (context) => sendJson(context, answer(context)));
    };
    for (const path of ['/state', '/state.json']) get(path, () => renderState(this.#state.facts()));
    get('/state-summary', () => renderSummary(this.#state.facts()));
    get('/slaves', (context) => renderAgents(this.#state.facts(), context.req.query('slave_id')));
    get('/frameworks', (context) => renderFrameworks(this.#state.facts(), context.req.query('framework_id')));
    get('/tasks', (context) => {
      const { framework_id: frameworkId, task_id: taskId, ...query } = page.parse(context.req.query());
      return renderTasks(this.#state.facts(), { ...query, frameworkId, taskId });
    });
    get('/roles', () => renderRoles(this.#state.facts()));
    get('/flags', () => renderFlags(this.#state.facts()));
    for (const path of ['/redirect', '/master/redirect'])
      app.get(path, (context) => {
        const { address, port } = this.#state.facts().master;
        return context.redirect(`//${endpoint(address, port)}`, 307);
      });
    for (const path of ['/api/v1', '/master/api/v1']) app.post(path, (context) => this.#operator(context));
  }

  close(): void {
    this.#subscriptions.close();
  }

  async #operator(context: Context): Promise<Response> {
    const { type } = call.parse(await readCall(context));
    if (type === 'SUBSCRIBE') return this.#subscribe(context);
    const facts = this.#state.facts();
    switch (type) {
      case 'GET_STATE':
        return sendJson(context, { type, get_state: getState(facts) });
      case 'GET_TASKS':
        return sendJson(context, { type, get_tasks: getTasks(facts) });
      case 'GET_FRAMEWORKS':
        return sendJson(context, { type, get_frameworks: getFrameworks(facts) });
      case 'GET_AGENTS':
        return sendJson(context, { type, get_agents: getAgents(facts) });
      case 'GET_HEALTH':
        return sendJson(context, { type, get_health: { healthy: true } });
      case 'GET_VERSION':
        return sendJson(context, { type, get_version: { version_info: { version: MESOS_VERSION } } });
      default:
        throw new PortolanError('invalid', `Cannot answer a call of type "${type.slice(0, 80)}"`, {
          field: 'type',
          remedy:
            'known are GET_STATE, GET_TASKS, GET_FRAMEWORKS, GET_AGENTS, GET_HEALTH, GET_VERSION and SUBSCRIBE',
        });
    }
  }

  #subscribe(context: Context): Response {
    const { incoming, outgoing } = (context.env ?? {}) as {
      incoming?: IncomingMessage;
      outgoing?: ServerResponse;
    };
    if (outgoing === undefined)
      throw new PortolanError('internal', 'Cannot stream: the request has no connection');
    const isRecordIo = context.req.header('accept')?.includes('recordio') === true;
    const headers: Record<string, string> = isRecordIo
      ? { 'content-type': 'application/recordio', 'message-content-type': 'application/json' }
      : { 'content-type': 'application/json' };
    if (!this.#subscriptions.attach(outgoing, headers, incoming?.socket.remoteAddress ?? ''))
      throw new PortolanError('unavailable', 'Cannot subscribe: too many subscribers listen already', {
        remedy: 'close some of them',
      });
    return RESPONSE_ALREADY_SENT;
  }
}

async function readCall(context: Context): Promise<unknown> {
  if (context.req.header('content-type')?.includes('protobuf') === true)
    throw new PortolanError('invalid', 'Cannot read the call: it is a protobuf', {
      field: 'content-type',
      remedy: 'send and accept application/json',
    });
  try {
    return JSON.parse(await context.req.text()) as unknown;
  } catch (error) {
    throw new PortolanError('invalid', `Cannot read the call: ${(error as Error).message}`, {
      field: 'body',
      remedy: 'send JSON',
    });
  }
}
