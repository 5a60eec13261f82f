/**
 * From one tree of apps to another: steps (the reference "Marathon", section 4).
 *
 * First what is gone stops; then what is new is made known, with no instance; then layer by layer, dependencies first,
 * everything new or only scaled is scaled, and everything configured otherwise is restarted.
 */
import { PortolanError } from '../base/errors.ts';
import type { App, Group } from '../model/app.ts';
import type { DeploymentAction, DeploymentActionKind, DeploymentStep } from '../model/deployment.ts';
import { isWithin } from './ids.ts';
import { appsById, groupsOf } from './tree.ts';
import { isSameConfiguration } from './versions.ts';

export interface PlanInit {
  /** Apps that are restarted though their definition is the same. */
  readonly restart: ReadonlySet<string>;
  /** Apps that have instances of another configuration than that of the tree before. */
  readonly outdated: ReadonlySet<string>;
}

export function planSteps(original: Group, target: Group, init: PlanInit): readonly DeploymentStep[] {
  const before = appsById(original);
  const after = appsById(target);
  const stopped = Array.from(before.keys()).filter((id) => !after.has(id));
  const started = Array.from(after.keys()).filter((id) => !before.has(id));
  const layers = layersOf(after, dependenciesOf(target, after));
  const steps = [
    stepOf('StopApplication', stopped),
    stepOf('StartApplication', started),
    ...layers.map((ids) => ({
      actions: ids.flatMap((id) => actionFor(before.get(id), after.get(id), init)),
    })),
  ];
  return steps.filter(({ actions }) => actions.length > 0);
}

function stepOf(action: DeploymentActionKind, apps: readonly string[]): DeploymentStep {
  return { actions: apps.map((app) => ({ action, app })) };
}

function actionFor(before: App | undefined, after: App | undefined, init: PlanInit): DeploymentAction[] {
  if (after === undefined) return [];
  const app = after.id;
  if (before === undefined) return [{ action: 'ScaleApplication', app }];
  const isScaled = before.instances !== after.instances;
  const isOther = !isSameConfiguration(before, after) || init.restart.has(app);
  if (!isOther && !isScaled) return [];
  if (after.instances === 0) return [{ action: 'ScaleApplication', app }];
  if (isOther || init.outdated.has(app)) return [{ action: 'RestartApplication', app }];
  return [{ action: 'ScaleApplication', app }];
}

/** Each app's own and its groups' dependencies, as apps: a group stands for all apps in it. */
function dependenciesOf(
  target: Group,
  apps: ReadonlyMap<string, App>,
): ReadonlyMap<string, ReadonlySet<string>> {
  const groups = Array.from(groupsOf(target)).filter(({ dependencies }) => dependencies.length > 0);
  const expand = (id: string): string[] =>
    apps.has(id) ? [id] : Array.from(apps.keys()).filter((app) => isWithin(app, id));
  return new Map(
    Array.from(apps.values(), (app) => {
      const around = groups.filter((group) => isWithin(app.id, group.id));
      const named = [...app.dependencies, ...around.flatMap((group) => group.dependencies)];
      const wanted = new Set(named.flatMap((id) => expand(id)));
      wanted.delete(app.id);
      return [app.id, wanted];
    }),
  );
}

/** By the longest way to an app without dependencies. Throws 'invalid' for a cycle. */
function layersOf(
  apps: ReadonlyMap<string, App>,
  dependencies: ReadonlyMap<string, ReadonlySet<string>>,
): readonly (readonly string[])[] {
  const layers: string[][] = [];
  const known = new Map<string, number>();
  const onTheWay = new Set<string>();
  const layerOf = (id: string): number => {
    const found = known.get(id);
    if (found !== undefined) return found;
    if (onTheWay.has(id))
      throw new PortolanError('invalid', `Cannot order the apps: "${id}" depends on itself`, {
        field: 'dependencies',
        remedy: 'remove one dependency of the cycle',
      });
    onTheWay.add(id);
    const below = Array.from(dependencies.get(id) ?? [], layerOf);
    onTheWay.delete(id);
    const layer = Math.max(-1, ...below) + 1;
    known.set(id, layer);
    (layers[layer] ??= []).push(id);
    return layer;
  };
  for (const id of apps.keys()) layerOf(id);
  return layers;
}

/** The apps of all steps, each once. */
export function affectedApps(steps: readonly DeploymentStep[]): readonly string[] {
  return Array.from(new Set(steps.flatMap(({ actions }) => actions.map(({ app }) => app))));
}
