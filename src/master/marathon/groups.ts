/** `/v2/groups`: apps that belong together, as a tree. */
import { z } from 'zod';
import { groupIdOf, groupRules, putGroupInput, scaleGroup, settleTree } from '../../apps/group-update.ts';
import { absoluteId, ROOT } from '../../apps/ids.ts';
import { groupInput, type GroupInput } from '../../apps/schema.ts';
import { findApp, findGroup, putGroup, removeGroup } from '../../apps/tree.ts';
import { PortolanError } from '../../base/errors.ts';
import { appsOf, type Group } from '../../model/app.ts';
import type { MarathonComponents } from './api.ts';
import { deployed } from './apps.ts';
import { appEmbed, groupEmbed } from './embed.ts';
import { groupNotFound } from './errors.ts';
import { flag, many, route, type Call, type Reply, type Route } from './routes.ts';

const changed = {
  200: 'Version and deployment id',
  403: 'As many deployments run as may',
  404: 'No such group',
  409: 'Locked by a deployment',
  422: 'Against a rule',
};
const embedQuery = z.object({ embed: many.optional() });
const forceQuery = z.object({ force: flag.optional() });
const updateQuery = z.object({ force: flag.optional(), dryRun: flag.optional() });

/** Each path twice: for the root, and with the id of a group. */
export function groupRoutes(components: MarathonComponents): readonly Route[] {
  return ['/v2/groups', '/v2/groups/{id+}'].flatMap((path) => [
    ...reads(components, path),
    ...writes(components, path),
  ]);
}

const idOf = (call: Pick<Call<unknown, unknown>, 'params'>): string => absoluteId(call.params['id'] ?? ROOT);

function mustFindGroup(root: Group, id: string): Group {
  const group = findGroup(root, id);
  if (group === undefined) throw groupNotFound(id);
  return group;
}

function reads({ orchestrator, renderer }: MarathonComponents, path: string): readonly Route[] {
  const embedOf = (values: readonly string[] | undefined) => ({
    group: groupEmbed(values ?? []),
    app: appEmbed(values ?? []),
  });
  return [
    route({
      method: 'GET',
      path: `${path}/apps`,
      summary: 'The apps of a group and of all groups in it',
      query: embedQuery,
      answers: { 200: 'A list of apps', 404: 'No such group' },
      handle: (call) => {
        const group = mustFindGroup(orchestrator.root(), idOf(call));
        return { raw: renderer.apps(appsOf(group), appEmbed(call.query.embed ?? [])) };
      },
    }),
    route({
      method: 'GET',
      path: `${path}/versions/{version}`,
      summary: 'A group as of a version',
      query: embedQuery,
      answers: { 200: 'The group', 404: 'No such group or version' },
      handle: (call) => {
        const version = call.params['version'] ?? '';
        const root = orchestrator.rootAt(version);
        const group = root === undefined ? undefined : findGroup(root, idOf(call));
        if (group === undefined) throw groupNotFound(idOf(call), version);
        return { raw: renderer.group(group, embedOf(call.query.embed)) };
      },
    }),
    route({
      method: 'GET',
      path: `${path}/versions`,
      summary: 'The versions of a group, newest first',
      answers: { 200: 'A list of versions', 404: 'No such group' },
      handle: (call) => {
        const { id } = mustFindGroup(orchestrator.root(), idOf(call));
        return { json: orchestrator.groupVersions(id) };
      },
    }),
    route({
      method: 'GET',
      path,
      summary: 'A group with what it holds',
      query: embedQuery,
      answers: { 200: 'The group', 404: 'No such group' },
      handle: (call) => {
        const group = mustFindGroup(orchestrator.root(), idOf(call));
        return { raw: renderer.group(group, embedOf(call.query.embed)) };
      },
    }),
  ];
}

function writes(components: MarathonComponents, path: string): readonly Route[] {
  const { orchestrator } = components;
  return [
    route({
      method: 'POST',
      path,
      summary: 'Creates a group',
      query: forceQuery,
      body: groupInput,
      answers: { ...changed, 201: 'Created' },
      handle: (call) => create(components, idOf(call), call.body, call.query.force ?? false),
    }),
    route({
      method: 'PUT',
      path,
      summary: 'Creates or updates a group, multiplies its instances (scaleBy), or goes back to a version',
      query: updateQuery,
      body: groupInput,
      answers: { ...changed, 201: 'Created' },
      handle: (call) => update(components, idOf(call), call.body, call.query),
    }),
    route({
      method: 'DELETE',
      path,
      summary: 'Removes a group with everything in it; without an id, everything',
      query: forceQuery,
      answers: changed,
      handle: async (call) => {
        const id = idOf(call);
        const result = await orchestrator.deploy(
          (root, version) => removeGroup(root, mustFindGroup(root, id).id, version),
          { force: call.query.force ?? false },
        );
        return deployed(result);
      },
    }),
  ];
}

async function create(
  { orchestrator, names }: MarathonComponents,
  path: string,
  input: GroupInput,
  force: boolean,
): Promise<Reply> {
  const id = groupIdOf(input, path);
  groupRules(input);
  const result = await orchestrator.deploy(
    (root, version) => {
      // The root is always there: a group sent to it without an id is what it holds.
      if (findGroup(root, id) !== undefined && (id !== ROOT || root.apps.length + root.groups.length > 0))
        throw new PortolanError('conflict', `Group ${id} is already created. Use PUT to change this group.`);
      if (findApp(root, id) !== undefined)
        throw new PortolanError('conflict', `An app with the path ${id} already exists.`);
      return settleTree(root, putGroupInput(root, id, input, { names, version }), version);
    },
    { force },
  );
  return deployed(result, 201, { location: `/v2/groups${id}` });
}

async function update(
  components: MarathonComponents,
  path: string,
  input: GroupInput,
  {
    force = false,
    dryRun = false,
  }: { readonly force?: boolean | undefined; readonly dryRun?: boolean | undefined },
): Promise<Reply> {
  const { orchestrator } = components;
  const id = groupIdOf(input, path);
  groupRules(input);
  let isNew = false;
  const change = (root: Group, version: string): Group => {
    isNew = findGroup(root, id) === undefined;
    return settleTree(root, changedTree(components, root, { id, input, version }), version);
  };
  if (dryRun) return { json: { steps: orchestrator.plan(change).steps } };
  const result = await orchestrator.deploy(change, { force });
  return isNew ? deployed(result, 201, { location: `/v2/groups${id}` }) : deployed(result);
}

function changedTree(
  { orchestrator, names }: MarathonComponents,
  root: Group,
  { id, input, version }: { readonly id: string; readonly input: GroupInput; readonly version: string },
): Group {
  if (input.version !== undefined) {
    const old = orchestrator.rootAt(input.version);
    const group = old === undefined ? undefined : findGroup(old, id);
    if (group === undefined) throw groupNotFound(id, input.version);
    return putGroup(root, group, version);
  }
  if (input.scaleBy !== undefined) return scaleGroup(root, mustFindGroup(root, id), input.scaleBy, version);
  return putGroupInput(root, id, input, { names, version });
}
