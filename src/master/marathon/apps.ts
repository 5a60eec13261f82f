/** `/v2/apps`: definitions, their versions, and what runs of them. */
import { z } from 'zod';
import { defineApp, idOfUpdate, rollbackVersion, updateApp } from '../../apps/definition.ts';
import { settleTree } from '../../apps/group-update.ts';
import { absoluteId, parentOf } from '../../apps/ids.ts';
import type { NetworkNames } from '../../apps/migrate.ts';
import { appInput, appsInput, type AppInput } from '../../apps/schema.ts';
import { parseSelector } from '../../apps/selector.ts';
import { findApp, findGroup, putApp, removeApp } from '../../apps/tree.ts';
import { PortolanError } from '../../base/errors.ts';
import { appsOf, type App, type Group } from '../../model/app.ts';
import type { Deployed } from '../apps/types.ts';
import { appEmbed } from './embed.ts';
import { appNotFound, groupNotFound } from './errors.ts';
import type { MarathonComponents } from './api.ts';
import { flag, many, route, type CallRequest, type Reply, type Route } from './routes.ts';

const force = z.object({ force: flag.optional() });
const changed = {
  200: 'Version and deployment id',
  403: 'As many deployments run as may',
  404: 'No such app',
  409: 'Locked by a deployment',
  422: 'Against a rule',
};

export function appRoutes(components: MarathonComponents): readonly Route[] {
  return [...listings(components), ...changes(components), ...lives(components)];
}

/** The answer of calls that began a deployment. */
export function deployed({ version, deploymentId }: Deployed, status = 200, headers = {}): Reply {
  return {
    status,
    json: { version, deploymentId },
    headers: { 'marathon-deployment-id': deploymentId, ...headers },
  };
}

function listings({ orchestrator, renderer }: MarathonComponents): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/v2/apps',
      summary: 'All apps, or those that fit',
      query: z.object({
        cmd: z.string().optional(),
        id: z.string().optional(),
        label: z.string().optional(),
        embed: many.optional(),
      }),
      answers: { 200: 'apps', 422: 'A selector that cannot be read' },
      handle: ({ query }) => {
        const fits = filterOf(query);
        const apps = Array.from(appsOf(orchestrator.root())).filter((app) => fits(app));
        const embed = appEmbed(query.embed ?? [], ['counts', 'deployments']);
        return { raw: `{"apps":${renderer.apps(apps, embed)}}` };
      },
    }),
    route({
      method: 'GET',
      path: '/v2/apps/{id+}/versions/{version}',
      summary: 'An app as of a version',
      answers: { 200: 'The definition', 404: 'No such app or version' },
      handle: ({ params }) => {
        const id = absoluteId(params['id'] ?? '');
        const version = params['version'] ?? '';
        const app = orchestrator.appAt(id, version);
        if (app === undefined) throw appNotFound(id, version);
        return { raw: renderer.definition(app) };
      },
    }),
    route({
      method: 'GET',
      path: '/v2/apps/{id+}/versions',
      summary: 'The versions of an app, newest first',
      answers: { 200: 'versions', 404: 'No such app' },
      handle: ({ params }) => {
        const id = absoluteId(params['id'] ?? '');
        const versions = orchestrator.versions(id);
        if (versions.length === 0) throw appNotFound(id);
        return { json: { versions } };
      },
    }),
  ];
}

function filterOf(query: {
  readonly cmd?: string | undefined;
  readonly id?: string | undefined;
  readonly label?: string | undefined;
}): (app: App) => boolean {
  const has = (text: string | undefined, part: string | undefined): boolean =>
    part === undefined || part === '' || (text ?? '').toLowerCase().includes(part.toLowerCase());
  const selects = query.label === undefined ? undefined : parseSelector(query.label);
  return (app) => has(app.cmd, query.cmd) && has(app.id, query.id) && (selects?.(app.labels) ?? true);
}

/** Everything that is about one app that the tree holds now. */
function lives({ orchestrator, renderer }: MarathonComponents): readonly Route[] {
  const always = ['tasks', 'counts', 'deployments', 'lastTaskFailure'];
  return [
    route({
      method: 'GET',
      path: '/v2/apps/{id+}',
      summary: 'One app; `/v2/apps/{group}/*` is all apps of a group',
      query: z.object({ embed: many.optional() }),
      answers: { 200: 'app', 404: 'No such app' },
      handle: ({ params, query }) => {
        const embed = appEmbed(query.embed ?? [], always);
        const group = groupOfAll(params['id'] ?? '');
        if (group !== undefined) {
          const found = findGroup(orchestrator.root(), group);
          if (found === undefined) throw groupNotFound(group);
          return { raw: `{"*":${renderer.apps(appsOf(found), embed)}}` };
        }
        const id = absoluteId(params['id'] ?? '');
        const app = orchestrator.app(id);
        if (app === undefined) throw appNotFound(id);
        return { raw: `{"app":${renderer.app(app, embed)}}` };
      },
    }),
    route({
      method: 'POST',
      path: '/v2/apps/{id+}/restart',
      summary: 'Replaces every task of an app',
      query: force,
      answers: changed,
      handle: async ({ params, query }) => {
        const id = absoluteId(params['id'] ?? '');
        const result = await orchestrator.deploy(
          (root, version) => {
            const app = mustFind(root, id);
            const versionInfo = { lastScalingAt: version, lastConfigChangeAt: version };
            return putApp(root, { ...app, version, versionInfo }, version);
          },
          { force: query.force ?? false, restart: [id] },
        );
        return deployed(result);
      },
    }),
  ];
}

/** `group/*` names the group, `*` the root. */
export function groupOfAll(id: string): string | undefined {
  return /(^|\/)\*$/.test(id) ? absoluteId(id.slice(0, -1)) : undefined;
}

export function mustFind(root: Group, id: string): App {
  const app = findApp(root, id);
  if (app === undefined) throw appNotFound(id);
  return app;
}

function changes(components: MarathonComponents): readonly Route[] {
  const { orchestrator } = components;
  return [
    route({
      method: 'POST',
      path: '/v2/apps',
      summary: 'Creates an app',
      query: force,
      body: appInput,
      answers: {
        201: 'The app',
        400: 'Not JSON, or of the wrong shape',
        403: 'As many deployments run as may',
        409: 'The app exists, or is locked',
        422: 'Against a rule',
      },
      handle: ({ body, query, request }) => create(components, body, query.force ?? false, request),
    }),
    ...updates(components, 'PUT'),
    ...updates(components, 'PATCH'),
    route({
      method: 'DELETE',
      path: '/v2/apps/{id+}',
      summary: 'Removes an app and its tasks; forced unless told otherwise',
      query: force,
      answers: changed,
      handle: async ({ params, query, request }) => {
        const id = absoluteId(params['id'] ?? '');
        const before = orchestrator.app(id);
        const result = await orchestrator.deploy(
          (root, version) => removeApp(root, mustFind(root, id).id, version),
          { force: query.force ?? true },
        );
        if (before !== undefined) components.posted(before, request);
        return deployed(result);
      },
    }),
  ];
}

const updateQuery = z.object({ force: flag.optional(), partialUpdate: flag.optional() });

/** PUT creates what is not there, and can replace instead of merging. */
function updates(components: MarathonComponents, method: 'PUT' | 'PATCH'): readonly Route[] {
  const isPut = method === 'PUT';
  const verb = isPut ? 'Creates or updates' : 'Updates';
  const how = (query: z.infer<typeof updateQuery>): UpdateOptions => ({
    canCreate: isPut,
    isPartial: !isPut || query.partialUpdate !== false,
    force: query.force ?? false,
  });
  return [
    route({
      method,
      path: '/v2/apps',
      summary: `${verb} several apps at once`,
      query: updateQuery,
      body: appsInput,
      answers: changed,
      handle: async ({ body, query, request }) => {
        const wanted = body.map((input) => ({ id: idOfUpdate(input, undefined), input }));
        return deployed((await update(components, wanted, how(query), request)).result);
      },
    }),
    route({
      method,
      path: '/v2/apps/{id+}',
      summary: `${verb} an app`,
      query: updateQuery,
      body: appInput,
      answers: { ...changed, ...(isPut ? { 201: 'Created' } : {}) },
      handle: async ({ params, body, query, request }) => {
        const id = idOfUpdate(body, params['id'] ?? '');
        const { result, created } = await update(components, [{ id, input: body }], how(query), request);
        return created.has(id) ? deployed(result, 201, { location: `/v2/apps${id}` }) : deployed(result);
      },
    }),
  ];
}

async function create(
  components: MarathonComponents,
  input: AppInput,
  force: boolean,
  request: CallRequest,
): Promise<Reply> {
  const { orchestrator, renderer, names } = components;
  let created: App | undefined;
  const result = await orchestrator.deploy(
    (root, version) => {
      const app = defineApp(input, { names, version });
      if (findApp(root, app.id) !== undefined)
        throw new PortolanError('conflict', `An app with id [${app.id}] already exists.`);
      const tree = settleTree(root, putApp(root, app, version), version);
      created = findApp(tree, app.id);
      return tree;
    },
    { force },
  );
  if (created === undefined) throw new PortolanError('internal', 'Cannot find the app that was created');
  components.posted(created, request);
  const { deploymentId } = result;
  const told = `"tasksStaged":0,"tasksRunning":0,"tasksHealthy":0,"tasksUnhealthy":0,"deployments":${JSON.stringify([{ id: deploymentId }])},"tasks":[]`;
  return {
    status: 201,
    raw: `${renderer.definition(created).slice(0, -1)},${told}}`,
    headers: { location: `/v2/apps${created.id}`, 'marathon-deployment-id': deploymentId },
  };
}

interface Update {
  readonly id: string;
  readonly input: AppInput;
}

interface UpdateOptions {
  readonly canCreate: boolean;
  /** Members that are not given stay as they are; else they become the default. */
  readonly isPartial: boolean;
  readonly force: boolean;
}

async function update(
  components: MarathonComponents,
  updates: readonly Update[],
  options: UpdateOptions,
  request: CallRequest,
): Promise<{ readonly result: Deployed; readonly created: ReadonlySet<string> }> {
  const created = new Set<string>();
  let apps: App[] = [];
  const result = await components.orchestrator.deploy(
    (root, version) => {
      let tree = root;
      for (const each of updates) {
        const stored = findApp(root, each.id);
        if (stored === undefined) created.add(each.id);
        tree = putApp(tree, updated(components, stored, each, { ...options, version }), version);
      }
      tree = settleTree(root, tree, version);
      apps = updates.map(({ id }) => mustFind(tree, id));
      return tree;
    },
    { force: options.force },
  );
  for (const app of apps) components.posted(app, request);
  return { result, created };
}

function updated(
  {
    orchestrator,
    names,
  }: { readonly orchestrator: MarathonComponents['orchestrator']; readonly names: NetworkNames },
  stored: App | undefined,
  { id, input }: Update,
  { canCreate, isPartial, version }: UpdateOptions & { readonly version: string },
): App {
  const rollback = rollbackVersion(input);
  if (rollback !== undefined) {
    const old = orchestrator.appAt(id, rollback);
    if (old === undefined) throw appNotFound(id, rollback);
    return { ...old, version };
  }
  if (stored === undefined && !canCreate) throw appNotFound(id);
  if (stored !== undefined && isPartial) return updateApp(stored, input, { names, version });
  return defineApp({ ...input, id }, { names, version, base: parentOf(id) });
}
