/** Rules between apps and groups: one id is one thing, and dependencies have an end. */
import { appsOf, type Group } from '../model/app.ts';
import { isWithin, parentOf, ROOT } from './ids.ts';
import type { Issue } from './issues.ts';
import { groupsOf } from './tree.ts';

export const CYCLE = 'Dependency graph has cyclic dependencies.';
export const SAME_ID = 'Groups and Applications may not have the same identifier.';

export function treeIssues(tree: Group): Issue[] {
  const issues: Issue[] = [];
  const groups = new Set(Array.from(groupsOf(tree), (group) => group.id));
  const clash = [...appsOf(tree)].find((app) => groups.has(app.id));
  if (clash !== undefined) issues.push({ path: '/', errors: [SAME_ID] });
  if (cycleOf(tree) !== undefined) issues.push({ path: '/', errors: [CYCLE] });
  return issues;
}

/**
 * What each app waits for: its own dependencies and those of the groups it is in. A dependency on a group is one on
 * every app in it, but for the apps that have it as a group of their own.
 */
export function appDependencies(tree: Group): ReadonlyMap<string, ReadonlySet<string>> {
  const apps = [...appsOf(tree)];
  const groups = new Map(Array.from(groupsOf(tree), (group) => [group.id, group]));
  const ids = new Set(apps.map((app) => app.id));
  const members = (id: string): string[] => {
    const group = groups.get(id);
    return group === undefined ? [] : Array.from(appsOf(group), (app) => app.id);
  };
  return new Map(
    apps.map((app) => {
      const wanted = [...app.dependencies, ...inherited(groups, app.id)];
      const found = wanted.flatMap((id) => {
        if (ids.has(id)) return [id];
        return isWithin(app.id, id) ? [] : members(id);
      });
      return [app.id, new Set(found)];
    }),
  );
}

function inherited(groups: ReadonlyMap<string, Group>, app: string): string[] {
  const all: string[] = [];
  for (let id = parentOf(app); ; id = parentOf(id)) {
    all.push(...(groups.get(id)?.dependencies ?? []));
    if (id === ROOT) return all;
  }
}

/** One app of a cycle. Depth first, without recursion: a chain of dependencies may be long. */
function cycleOf(tree: Group): string | undefined {
  const edges = appDependencies(tree);
  const done = new Set<string>();
  for (const start of edges.keys()) {
    if (done.has(start)) continue;
    const path = new Set([start]);
    const stack = [{ id: start, rest: [...(edges.get(start) ?? [])] }];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.rest.pop();
      if (next === undefined) {
        stack.pop();
        path.delete(top.id);
        done.add(top.id);
      } else if (path.has(next)) return next;
      else if (!done.has(next)) {
        path.add(next);
        stack.push({ id: next, rest: [...(edges.get(next) ?? [])] });
      }
    }
  }
  return undefined;
}
