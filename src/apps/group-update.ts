/** Groups as clients send them, applied to the tree. Apps of a group are whole definitions, not updates. */
import { isSameList } from '../base/lists.ts';
import type { App, Group } from '../model/app.ts';
import { defineAppIn, type DefinitionInit } from './definition.ts';
import { absoluteId, idErrors, parentOf, ROOT } from './ids.ts';
import { refuse, refuseAny, Refused, under, type Issue } from './issues.ts';
import type { GroupInput } from './schema.ts';
import { assignServicePorts, servicePortsOf } from './service-ports.ts';
import { treeIssues } from './tree-rules.ts';
import { appsById, emptyGroup, findGroup, mapApps, putGroup } from './tree.ts';
import { succeed } from './versions.ts';

type Init = Omit<DefinitionInit, 'base'>;

/** The id of the group that `input`, sent to the group `path`, is about. Throws `Refused`. */
export function groupIdOf(input: GroupInput, path: string): string {
  const id = input.id === undefined ? path : absoluteId(input.id, path);
  refuseAny(idErrors(id).map((error) => ({ path: '/id', errors: [error] })));
  return id;
}

/** `scaleBy` and `version` stand alone. Throws `Refused`. */
export function groupRules(input: GroupInput): void {
  const given = Object.entries(input).filter(([key, value]) => value !== undefined && key !== 'id');
  for (const key of ['scaleBy', 'version'] as const)
    if (input[key] !== undefined && given.length > 1)
      refuse(`/${key}`, 'not allowed in conjunction with other properties.');
}

/** The tree with the group made what `input` says: members left out stay as they are. Throws `Refused`. */
export function putGroupInput(tree: Group, id: string, input: GroupInput, init: Init): Group {
  const issues: Issue[] = [];
  const group = defineGroup(id, input, findGroup(tree, id), init, { prefix: '', issues });
  refuseAny(issues);
  return putGroup(tree, group, init.version);
}

/** Instances times `factor`, rounded up. */
export function scaleGroup(tree: Group, group: Group, factor: number, version: string): Group {
  const scaled = mapApps(group, (app) => ({ ...app, instances: Math.ceil(app.instances * factor) }));
  return putGroup(tree, scaled, version);
}

interface Place {
  /** Where the group is in what was sent. */
  readonly prefix: string;
  readonly issues: Issue[];
}

function defineGroup(
  id: string,
  input: GroupInput,
  existing: Group | undefined,
  init: Init,
  place: Place,
): Group {
  const before = existing ?? emptyGroup(id, init.version);
  const apps = input.apps?.flatMap((app, i) => {
    const define = () => [defineAppIn(id, app, init)];
    return collecting(place, `/apps(${i})`, define);
  });
  const groups = input.groups?.flatMap((child, i) => {
    const prefix = `/groups(${i})`;
    const childId = collecting(place, prefix, () => [childIdOf(child, id)])[0];
    if (childId === undefined) return [];
    const known = existing?.groups.find((each) => each.id === childId);
    return [defineGroup(childId, child, known, init, { ...place, prefix: place.prefix + prefix })];
  });
  if (input.enforceRole === true && (id === ROOT || parentOf(id) !== ROOT))
    place.issues.push({
      path: `${place.prefix}/enforceRole`,
      errors: [`enforceRole can only be set for top-level groups, and ${id} is not top-level`],
    });
  mustBeUnique(place, [...(apps ?? []), ...(groups ?? [])]);
  return {
    ...before,
    apps: apps === undefined ? before.apps : sorted(apps),
    groups: groups === undefined ? before.groups : sorted(groups),
    dependencies: input.dependencies?.map((each) => absoluteId(each, id)) ?? before.dependencies,
    enforceRole: input.enforceRole ?? before.enforceRole,
    version: init.version,
  };
}

function collecting<T>(place: Place, prefix: string, define: () => T[]): T[] {
  try {
    return define();
  } catch (error) {
    if (!(error instanceof Refused) || error.kind === 'types') throw error;
    place.issues.push(...under(place.prefix + prefix, error.issues));
    return [];
  }
}

function childIdOf(child: GroupInput, parent: string): string {
  if (child.id === undefined) refuse('/id', 'error.path.missing');
  const id = absoluteId(child.id, parent);
  refuseAny(idErrors(id).map((error) => ({ path: '/id', errors: [error] })));
  if (id === ROOT || parentOf(id) !== parent)
    refuse('/id', `Identifier is not child of ${parent}. Hint: use relative paths.`);
  return id;
}

function mustBeUnique(place: Place, members: readonly { readonly id: string }[]): void {
  const ids = members.map((member) => member.id);
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  if (twice !== undefined)
    place.issues.push({
      path: place.prefix === '' ? '/' : place.prefix,
      errors: [`${twice} is given twice`],
    });
}

function sorted<T extends { readonly id: string }>(list: readonly T[]): T[] {
  return list.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/**
 * The tree as it is deployed: versions say what changed, service ports are assigned, the rules between apps hold. Apps
 * that do not change stay the same objects. Throws `Refused`, or 'exhausted'.
 */
export function settleTree(before: Group, after: Group, version: string): Group {
  refuseAny(treeIssues(after));
  const known = appsById(before);
  const taken = new Set<number>();
  const isOld = (app: App): boolean => known.get(app.id) === app;
  for (const app of appsById(after).values())
    for (const port of servicePortsOf(app)) if (port !== 0) taken.add(port);
  const settle = (app: App): App => {
    if (isOld(app)) return app;
    const old = known.get(app.id);
    const assigned = assignServicePorts(app, old === undefined ? [] : servicePortsOf(old), taken);
    return succeed(old, assigned, version);
  };
  return { ...stamped(before, mapApps(after, settle), version), version };
}

/** A group in which something is another than before has the version of the change; others keep theirs. */
function stamped(before: Group | undefined, after: Group, version: string): Group {
  const groups = after.groups.map((child) =>
    stamped(
      before?.groups.find(({ id }) => id === child.id),
      child,
      version,
    ),
  );
  const isSame =
    before !== undefined &&
    isSameList(before.apps, after.apps, (a, b) => a === b) &&
    isSameList(before.groups, groups, (a, b) => a.id === b.id && a.version === b.version) &&
    isSameList(before.dependencies, after.dependencies, (a, b) => a === b) &&
    before.enforceRole === after.enforceRole;
  return { ...after, groups, version: isSame ? before.version : version };
}
