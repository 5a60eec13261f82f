/** What is neither app nor group: deployments, the queue, and who this is. */
import { z } from 'zod';
import { absoluteId } from '../../apps/ids.ts';
import { PortolanError } from '../../base/errors.ts';
import type { MarathonComponents } from './api.ts';
import { deployed } from './apps.ts';
import { flag, many, route, type Route } from './routes.ts';

export function clusterRoutes(components: MarathonComponents): readonly Route[] {
  return [...deploymentRoutes(components), ...queueRoutes(components), ...selfRoutes(components)];
}

function deploymentRoutes({ orchestrator }: MarathonComponents): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/v2/deployments',
      summary: 'The deployments that are going on',
      answers: { 200: 'A list of deployments' },
      handle: () => ({
        json: orchestrator.deployments().map(({ original: _original, target: _target, ...told }) => told),
      }),
    }),
    route({
      method: 'DELETE',
      path: '/v2/deployments/{id}',
      summary: 'Reverts a deployment by another one; with force=true leaves everything as it is',
      query: z.object({ force: flag.optional() }),
      answers: { 200: 'Version and deployment id', 202: 'Stopped', 404: 'No such deployment' },
      handle: async ({ params, query }) => {
        const id = params['id'] ?? '';
        if (!orchestrator.deployments().some((deployment) => deployment.id === id))
          throw new PortolanError('not-found', `DeploymentPlan ${id} does not exist`);
        const result = await orchestrator.cancel(id, { force: query.force ?? false });
        return result === undefined ? { status: 202 } : deployed(result);
      },
    }),
  ];
}

function queueRoutes({ orchestrator }: MarathonComponents): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/v2/queue',
      summary: 'What waits for a place, and why',
      query: z.object({ embed: many.optional() }),
      answers: { 200: 'queue' },
      handle: () => ({
        json: { queue: orchestrator.queue().map((item) => ({ ...item, role: item.app.role })) },
      }),
    }),
    route({
      method: 'DELETE',
      path: '/v2/queue/{id+}/delay',
      summary: 'Starts what waits after failures at once',
      answers: { 204: 'Done', 404: 'The app does not wait' },
      handle: ({ params }) => {
        const id = absoluteId(params['id'] ?? '');
        if (!orchestrator.resetDelay(id))
          throw new PortolanError('not-found', `Application ${id} not found in tasks queue.`);
        return { status: 204 };
      },
    }),
  ];
}

function selfRoutes({ info }: MarathonComponents): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/v2/info',
      summary: 'Who this is and how it is configured',
      answers: { 200: 'Name, version, leader, configuration' },
      handle: () => ({ json: info() }),
    }),
    route({
      method: 'GET',
      path: '/v2/leader',
      summary: 'The leading master',
      answers: { 200: 'leader', 404: 'There is none' },
      handle: () => ({ json: { leader: info().leader } }),
    }),
    route({
      method: 'DELETE',
      path: '/v2/leader',
      summary: 'Asks the leader to step down',
      answers: { 409: 'There is no other master' },
      handle: () => {
        throw new PortolanError('conflict', 'Cannot abdicate: there is no other master to lead', {
          remedy: 'restart this master instead: tasks, addresses and names do not need it meanwhile',
        });
      },
    }),
    route({
      method: 'GET',
      path: '/ping',
      summary: 'Is anybody there',
      answers: { 200: 'pong' },
      handle: () => ({ text: 'pong\n' }),
    }),
  ];
}
