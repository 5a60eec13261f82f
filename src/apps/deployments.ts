/**
 * The tree of apps and the deployments that bring the cluster to it.
 *
 * Invariant: an app is under one deployment at a time; a step is over when every action of it is done.
 */
import { PortolanError } from '../base/errors.ts';
import type { App, Group } from '../model/app.ts';
import type { Deployment, ReadinessResult } from '../model/deployment.ts';
import { affectedApps, planSteps } from './deployment-plan.ts';
import type { Effects } from './effects.ts';
import { segmentsOf } from './ids.ts';
import { isActive } from './instance.ts';
import type { CoreParts } from './instances.ts';
import { RunningDeployment, type Mode } from './running-deployment.ts';
import { appKeys } from './store-keys.ts';
import { appsById, findApp, mapApps, pruneGroups, putApp, removeApp } from './tree.ts';
import { succeed } from './versions.ts';

export interface DeployEvent {
  readonly kind: 'deploy';
  readonly id: string;
  readonly version: string;
  readonly target: Group;
  readonly force: boolean;
  readonly restart: readonly string[];
  /** Tasks to be ended first. */
  readonly kill: readonly string[];
}

export class Deployments {
  readonly #parts: CoreParts;
  readonly #maxRunning: number;
  readonly #running = new Map<string, RunningDeployment>();
  readonly #done = new Map<string, boolean>();
  #tree: Group;
  #apps: ReadonlyMap<string, App>;

  constructor(
    parts: CoreParts,
    init: { readonly maxDeployments: number },
    state: { readonly root: Group; readonly deployments: readonly RunningDeployment[] },
  ) {
    this.#parts = parts;
    this.#maxRunning = init.maxDeployments;
    this.#tree = state.root;
    this.#apps = appsById(state.root);
    for (const each of state.deployments) this.#running.set(each.id, each);
  }

  get tree(): Group {
    return this.#tree;
  }

  /** The apps of the tree as last deployed. */
  get root(): ReadonlyMap<string, App> {
    return this.#apps;
  }

  running(): readonly RunningDeployment[] {
    return Array.from(this.#running.values());
  }

  views(): readonly Deployment[] {
    return this.running().map((each) => this.#view(each));
  }

  plan({ id, version, target, restart }: DeployEvent): RunningDeployment {
    const restarted = new Set(restart);
    const renewed = mapApps(target, (app) => (restarted.has(app.id) ? renew(app, version) : app));
    const tree = { ...renewed, version };
    const steps = planSteps(this.#tree, tree, { restart: restarted, outdated: this.#outdated() });
    const stored = { id, version, originalVersion: this.#tree.version, steps, at: 0, restart };
    return new RunningDeployment(stored, this.#tree, tree);
  }

  /** Apps with instances of another configuration than the tree's, as a deployment that was stopped leaves them. */
  #outdated(): ReadonlySet<string> {
    const { table, fingerprints } = this.#parts;
    const outdated = new Set<string>();
    for (const stored of table.all()) {
      const app = this.#apps.get(stored.app);
      if (app !== undefined && stored.config !== fingerprints.of(app)) outdated.add(app.id);
    }
    return outdated;
  }

  /**
   * Returns the apps concerned. Throws 'conflict' while another deployment has one of them, unless forced, and
   * 'forbidden' while as many run as may.
   */
  begin(event: DeployEvent, effects: Effects): Set<string> {
    const deployment = this.plan(event);
    const affected = new Set(deployment.affected);
    const locking = this.running().filter((each) => each.affected.some((app) => affected.has(app)));
    if (locking.length > 0 && !event.force)
      throw new PortolanError('conflict', 'Cannot deploy: an app of it is under another deployment', {
        remedy: 'wait for it, cancel it, or take over with force',
        details: {
          deployments: locking.map(({ id }) => ({ id })),
          groupId: commonGroup(deployment.affected),
        },
      });
    if (this.#running.size - locking.length >= this.#maxRunning)
      throw new PortolanError(
        'forbidden',
        `Cannot deploy: ${this.#running.size} deployments are running, ${this.#maxRunning} may`,
        {
          remedy: 'wait for one to end, or cancel one that is stuck',
          details: { groupId: commonGroup(deployment.affected) },
        },
      );
    const touched = new Set(affected);
    for (const { id } of locking)
      for (const app of this.stop(id, 'Another deployment took its place', effects)) touched.add(app);
    this.#tree = deployment.target;
    this.#apps = appsById(deployment.target);
    this.#running.set(deployment.id, deployment);
    effects.writes.set(appKeys.deployment(deployment.id), deployment.stored);
    effects.emit({
      ...{ eventType: 'group_change_success', groupId: commonGroup(deployment.affected) },
      version: event.version,
    });
    this.#tellChecks(deployment, effects);
    this.#tellStep(deployment, effects);
    return touched;
  }

  #tellChecks(deployment: RunningDeployment, effects: Effects): void {
    for (const id of deployment.affected) {
      const before = deployment.originalOf(id);
      const after = this.#apps.get(id);
      if ((before?.healthChecks.length ?? 0) > 0)
        effects.emit({ eventType: 'remove_health_check_event', appId: id });
      for (const healthCheck of after?.healthChecks ?? [])
        effects.emit({
          ...{ eventType: 'add_health_check_event', appId: id, version: after?.version ?? '', healthCheck },
        });
    }
  }

  #tellStep(deployment: RunningDeployment, effects: Effects): void {
    if (deployment.step === undefined) return;
    const plan = this.#view(deployment);
    effects.emit({ eventType: 'deployment_info', plan, currentStep: deployment.step });
  }

  /** Leaves everything as it is. Returns the apps that it had. */
  stop(id: string, reason: string, effects: Effects): readonly string[] {
    const deployment = this.#running.get(id);
    if (deployment === undefined)
      throw new PortolanError('not-found', `Cannot find deployment "${id}"`, {
        remedy: 'list the deployments with "portolan deployment ls"',
      });
    const plan = this.#view(deployment);
    this.#end(deployment, effects);
    if (deployment.step !== undefined)
      effects.emit({ eventType: 'deployment_step_failure', plan, currentStep: deployment.step });
    effects.emit({ eventType: 'deployment_failed', id, plan, reason });
    return deployment.affected;
  }

  #end(deployment: RunningDeployment, effects: Effects): void {
    this.#running.delete(deployment.id);
    for (const app of deployment.affected) this.#done.delete(app);
    effects.writes.set(appKeys.deployment(deployment.id), undefined);
  }

  modeOf(app: string): Mode {
    const deployment = this.running().find((each) => each.affected.includes(app));
    if (deployment !== undefined) return deployment.modeOf(app);
    const definition = this.#apps.get(app);
    if (definition === undefined) return { kind: 'stop' };
    return { kind: 'scale', app: definition, wanted: definition.instances };
  }

  setDone(app: string, isDone: boolean): void {
    this.#done.set(app, isDone);
  }

  /** Goes on with every deployment whose step is over. Returns the apps whose turn has come, or is over. */
  advance(effects: Effects): Set<string> {
    const touched = new Set<string>();
    for (const deployment of this.running()) {
      const { step } = deployment;
      if (step !== undefined && !step.actions.every((each) => this.#isDone(each))) continue;
      if (step !== undefined)
        effects.emit({
          eventType: 'deployment_step_success',
          plan: this.#view(deployment),
          currentStep: step,
        });
      for (const { action, app } of step?.actions ?? [])
        if (action === 'StopApplication') effects.emit({ eventType: 'app_terminated_event', appId: app });
      const next = deployment.next();
      for (const app of deployment.affected) touched.add(app);
      for (const action of next.step?.actions ?? []) this.#done.delete(action.app);
      if (next.step === undefined) this.#succeeded(deployment, effects);
      else {
        this.#running.set(next.id, next);
        effects.writes.set(appKeys.deployment(next.id), next.stored);
        this.#tellStep(next, effects);
      }
    }
    return touched;
  }

  #isDone({ action, app }: { readonly action: string; readonly app: string }): boolean {
    return action === 'StartApplication' || this.#done.get(app) === true;
  }

  #succeeded(deployment: RunningDeployment, effects: Effects): void {
    this.#end(deployment, effects);
    const plan = this.#view(deployment);
    effects.emit({ eventType: 'deployment_success', id: deployment.id, plan });
  }

  #view(deployment: RunningDeployment): Deployment {
    return deployment.view((app) => this.#readiness(app));
  }

  #readiness(app: string): readonly ReadinessResult[] {
    return this.#parts.table.ofApp(app).flatMap((instance) => {
      const [check] = instance.stored.launch.readiness_checks;
      if (check === undefined || !isActive(instance)) return [];
      return [{ taskId: instance.stored.taskId, name: check.name, ready: instance.record?.ready === true }];
    });
  }
}

function renew(app: App, version: string): App {
  return { ...app, version, versionInfo: { lastScalingAt: version, lastConfigChangeAt: version } };
}

/** The lowest group that all of them are in. */
function commonGroup(apps: readonly string[]): string {
  const paths = apps.map((id) => segmentsOf(id).slice(0, -1));
  const [first = []] = paths;
  const differs = first.findIndex((segment, i) => paths.some((path) => path[i] !== segment));
  return `/${(differs < 0 ? first : first.slice(0, differs)).join('/')}`;
}

/** The tree with the apps of a deployment as they were before it; groups that were made for them are gone when they are empty. */
export function reverted(root: Group, deployment: RunningDeployment, version: string): Group {
  let tree = root;
  for (const id of affectedApps(deployment.stored.steps)) {
    const app = deployment.originalOf(id);
    tree =
      app === undefined
        ? removeApp(tree, id, version)
        : putApp(tree, succeed(findApp(tree, id), app, version), version);
  }
  return pruneGroups(tree, deployment.original);
}
