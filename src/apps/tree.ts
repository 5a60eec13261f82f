/** The tree of groups as a value: look-ups and copies with one thing changed. Groups an app needs are made on the way. */
import { appsOf, type App, type Group } from '../model/app.ts';
import { isWithin, parentOf, ROOT, segmentsOf } from './ids.ts';

export function emptyGroup(id: string, version: string): Group {
  return { id, apps: [], groups: [], dependencies: [], version, enforceRole: false };
}

export function findGroup(tree: Group, id: string): Group | undefined {
  if (tree.id === id) return tree;
  const next = tree.groups.find((child) => isWithin(id, child.id));
  return next === undefined ? undefined : findGroup(next, id);
}

/** Whether the top-level group of the app enforces its role: others have no such setting. */
export function enforcesRole(tree: Group, app: string): boolean {
  return findGroup(tree, `/${segmentsOf(app)[0]}`)?.enforceRole ?? false;
}

/** The versions of a group among `trees`, newest first: those whose tree is there to go back to. */
export function groupVersions(trees: Iterable<Group>, id: string): readonly string[] {
  const all = [...trees];
  const kept = new Set(all.map(({ version }) => version));
  const versions = new Set(all.flatMap((tree) => findGroup(tree, id)?.version ?? []));
  return [...versions]
    .filter((version) => kept.has(version))
    .sort()
    .reverse();
}

export function findApp(tree: Group, id: string): App | undefined {
  return findGroup(tree, parentOf(id))?.apps.find((app) => app.id === id);
}

/** Puts the group in place of the one of its id; the groups above it are made, and get `version`. */
export function putGroup(tree: Group, group: Group, version: string): Group {
  if (group.id === ROOT) return group;
  return editGroup(tree, parentOf(group.id), version, (parent) => ({
    ...parent,
    groups: replaced(parent.groups, group),
  }));
}

export function putApp(tree: Group, app: App, version: string): Group {
  return editGroup(tree, parentOf(app.id), version, (group) => ({
    ...group,
    apps: replaced(group.apps, app),
  }));
}

export function removeApp(tree: Group, id: string, version: string): Group {
  return editGroup(tree, parentOf(id), version, (group) => ({
    ...group,
    apps: group.apps.filter((app) => app.id !== id),
  }));
}

export function removeGroup(tree: Group, id: string, version: string): Group {
  if (id === ROOT) return emptyGroup(ROOT, version);
  return editGroup(tree, parentOf(id), version, (group) => ({
    ...group,
    groups: group.groups.filter((child) => child.id !== id),
  }));
}

function replaced<T extends { readonly id: string }>(list: readonly T[], item: T): T[] {
  const rest = list.filter((each) => each.id !== item.id);
  return [...rest, item].sort((a, b) => (a.id < b.id ? -1 : 1));
}

function editGroup(tree: Group, id: string, version: string, edit: (group: Group) => Group): Group {
  if (tree.id === id) return { ...edit(tree), version };
  const childId = childOnPath(tree.id, id);
  const child = tree.groups.find((each) => each.id === childId) ?? emptyGroup(childId, version);
  return { ...tree, version, groups: replaced(tree.groups, editGroup(child, id, version, edit)) };
}

/** Of `/` towards `/a/b/c`: `/a`. */
function childOnPath(above: string, below: string): string {
  const start = above === ROOT ? 1 : above.length + 1;
  const end = below.indexOf('/', start);
  return end < 0 ? below : below.slice(0, end);
}

export function mapApps(tree: Group, change: (app: App) => App): Group {
  return {
    ...tree,
    apps: tree.apps.map((app) => change(app)),
    groups: tree.groups.map((group) => mapApps(group, change)),
  };
}

export function* groupsOf(tree: Group): Generator<Group> {
  yield tree;
  for (const child of tree.groups) yield* groupsOf(child);
}

export function appsById(tree: Group): Map<string, App> {
  return new Map(Array.from(appsOf(tree), (app) => [app.id, app]));
}

/** Without the empty groups that `original` does not have. */
export function pruneGroups(tree: Group, original: Group): Group {
  const groups = tree.groups
    .map((group) => pruneGroups(group, original))
    .filter(
      ({ id, apps, groups: below }) =>
        apps.length > 0 || below.length > 0 || findGroup(original, id) !== undefined,
    );
  return { ...tree, groups };
}
