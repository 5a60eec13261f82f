/** `/v2/tasks` and the tasks of apps: listing them, and ending them with or without others in their place. */
import { z } from 'zod';
import { absoluteId } from '../../apps/ids.ts';
import { killInput } from '../../apps/schema.ts';
import { settleTree } from '../../apps/group-update.ts';
import { findGroup, putApp } from '../../apps/tree.ts';
import { PortolanError } from '../../base/errors.ts';
import { appsOf } from '../../model/app.ts';
import type { InstanceView } from '../../model/deployment.ts';
import type { MarathonComponents } from './api.ts';
import { deployed, groupOfAll, mustFind } from './apps.ts';
import { appNotFound, groupNotFound, taskNotFound, Unreadable } from './errors.ts';
import { flag, many, route, type Reply, type Route } from './routes.ts';
import { tasksText } from './tasks-text.ts';

const killQuery = z.object({ scale: flag.optional(), force: flag.optional(), wipe: flag.optional() });
const listAnswers = { 200: 'tasks', 404: 'No such app or group', 406: 'Of another type than JSON or text' };
const killAnswers = {
  200: 'The tasks, or version and deployment id',
  400: 'scale and wipe together',
  404: 'No such task or app',
  409: 'Locked by a deployment',
};

interface KillOptions {
  readonly scale?: boolean | undefined;
  readonly force?: boolean | undefined;
  readonly wipe?: boolean | undefined;
}

export function taskRoutes(components: MarathonComponents): readonly Route[] {
  return [...allTasks(components), ...tasksOfApps(components)];
}

function allTasks(components: MarathonComponents): readonly Route[] {
  const { orchestrator } = components;
  return [
    route({
      method: 'GET',
      path: '/v2/tasks',
      summary: 'All tasks, or those in a status',
      query: z.object({ status: many.optional(), 'status[]': many.optional() }),
      answers: listAnswers,
      handle: ({ query, request }) => {
        const wanted = [...(query.status ?? []), ...(query['status[]'] ?? [])];
        const tasks = orchestrator.instances().filter((instance) => isInStatus(instance, wanted));
        return list(components, tasks, request.accept);
      },
    }),
    route({
      method: 'POST',
      path: '/v2/tasks/delete',
      summary: 'Ends tasks of any apps; with scale=true without others in their place',
      query: killQuery,
      body: killInput,
      answers: killAnswers,
      handle: ({ body, query }) => {
        const found = body.ids.flatMap((id) => orchestrator.instance(id) ?? []);
        return kill(components, found, query, { isOne: false });
      },
    }),
  ];
}

function isInStatus({ state }: InstanceView, wanted: readonly string[]): boolean {
  if (wanted.length === 0) return true;
  const status = state === 'TASK_RUNNING' ? 'running' : state === 'TASK_STAGING' ? 'staging' : '';
  return wanted.includes(status);
}

function tasksOfApps(components: MarathonComponents): readonly Route[] {
  const { orchestrator } = components;
  return [
    route({
      method: 'GET',
      path: '/v2/apps/{id+}/tasks',
      summary: 'The tasks of an app; `/v2/apps/{group}/*/tasks` are those of all apps of a group',
      answers: listAnswers,
      handle: ({ params, request }) =>
        list(components, instancesOf(components, params['id'] ?? ''), request.accept),
    }),
    route({
      method: 'DELETE',
      path: '/v2/apps/{id+}/tasks',
      summary: 'Ends the tasks of an app, all or those on one host',
      query: z.object({ ...killQuery.shape, host: z.string().optional() }),
      answers: killAnswers,
      handle: ({ params, query: { host, ...options } }) => {
        const id = absoluteId(params['id'] ?? '');
        if (orchestrator.app(id) === undefined) throw appNotFound(id);
        const isAll = host === undefined || host === '*';
        const tasks = orchestrator
          .instances(id)
          .filter(({ agentIp, host: name }) => isAll || agentIp === host || name === host);
        return kill(components, tasks, options, { isOne: false, ...(isAll ? { app: id } : {}) });
      },
    }),
    route({
      method: 'DELETE',
      path: '/v2/apps/{id+}/tasks/{task}',
      summary: 'Ends one task',
      query: killQuery,
      answers: killAnswers,
      handle: ({ params, query }) => {
        const id = absoluteId(params['id'] ?? '');
        if (orchestrator.app(id) === undefined) throw appNotFound(id);
        const task = orchestrator.instance(params['task'] ?? '');
        if (task === undefined || task.app !== id) throw taskNotFound(params['task'] ?? '');
        return kill(components, [task], query, { isOne: true });
      },
    }),
  ];
}

function instancesOf({ orchestrator }: MarathonComponents, id: string): readonly InstanceView[] {
  const groupId = groupOfAll(id);
  if (groupId === undefined) {
    const appId = absoluteId(id);
    if (orchestrator.app(appId) === undefined) throw appNotFound(appId);
    return orchestrator.instances(appId);
  }
  const group = findGroup(orchestrator.root(), groupId);
  if (group === undefined) throw groupNotFound(groupId);
  const apps = new Set(Array.from(appsOf(group), (app) => app.id));
  return orchestrator.instances().filter((instance) => apps.has(instance.app));
}

function list(components: MarathonComponents, tasks: readonly InstanceView[], accept: string): Reply {
  const types = accept.split(',').map((part) => (part.split(';')[0] ?? '').trim().toLowerCase());
  const takes = (...wanted: readonly string[]): boolean => types.some((type) => wanted.includes(type));
  if (takes('', '*/*', 'application/*', 'application/json'))
    return { raw: `{"tasks":${components.renderer.tasks(tasks)}}` };
  if (takes('text/plain', 'text/*'))
    return { text: tasksText(tasks, (id) => components.orchestrator.app(id)) };
  throw new Unreadable(406, { message: 'Not Acceptable', details: 'accept application/json or text/plain' });
}

async function kill(
  { orchestrator, renderer }: MarathonComponents,
  tasks: readonly InstanceView[],
  { scale = false, force = false, wipe = false }: KillOptions,
  /** `app`: all of it is meant, also volumes that wait for their next task. */
  { isOne, app }: { readonly isOne: boolean; readonly app?: string },
): Promise<Reply> {
  if (scale && wipe)
    throw new Unreadable(400, { message: 'You cannot use scale and wipe at the same time.' });
  const ids = tasks.map((instance) => instance.taskId);
  if (scale) {
    if (ids.length === 0) throw new PortolanError('not-found', 'None of the tasks exists');
    return deployed(
      await orchestrator.deploy(
        (root, version) => {
          const fewer = [...countByApp(tasks)].reduce((tree, [id, count]) => {
            const app = mustFind(tree, id);
            return putApp(tree, { ...app, instances: Math.max(0, app.instances - count) }, version);
          }, root);
          return settleTree(root, fewer, version);
        },
        { force, kill: ids },
      ),
    );
  }
  // Told as they are now: when they have ended, nothing is known of them any more.
  const told = isOne
    ? tasks.map((task) => `{"task":${renderer.task(task, orchestrator.app(task.app))}}`).join('')
    : `{"tasks":${renderer.tasks(tasks)}}`;
  const wipeApp = wipe ? app : undefined;
  if (ids.length > 0 || wipeApp !== undefined) await orchestrator.kill(ids, { wipe, wipeApp });
  return { raw: told };
}

function countByApp(tasks: readonly InstanceView[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { app } of tasks) counts.set(app, (counts.get(app) ?? 0) + 1);
  return counts;
}
