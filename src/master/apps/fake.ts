/** An orchestrator in memory for tests: trees, versions, locks and tasks as the real one has them; nothing runs. */
import { appsById, emptyGroup, findApp, groupVersions } from '../../apps/tree.ts';
import { PortolanError } from '../../base/errors.ts';
import { appsOf, type App, type Group } from '../../model/app.ts';
import type { AppEvent, Deployment, InstanceView, QueueItem } from '../../model/deployment.ts';
import type { Deployed, Orchestrator } from './types.ts';

type Change = (root: Group, version: string) => Group;

export class FakeOrchestrator implements Orchestrator {
  readonly #trees: Group[];
  readonly #deployments = new Map<string, Deployment>();
  readonly #instances = new Map<string, InstanceView>();
  readonly #listeners = new Set<(event: AppEvent) => void>();
  /** What was asked for, in order. */
  readonly asked: object[] = [];
  readonly failures = new Map<string, Readonly<Record<string, unknown>>>();
  waiting: QueueItem[] = [];
  #clockMs = Date.UTC(2026, 0, 1);
  #count = 0;

  constructor() {
    this.#trees = [emptyGroup('/', this.#nextVersion())];
  }

  root(): Group {
    return this.#trees.at(-1) ?? emptyGroup('/', '');
  }

  rootAt(version: string): Group | undefined {
    return this.#trees.find((tree) => tree.version === version);
  }

  groupVersions(id: string): readonly string[] {
    return groupVersions(this.#trees, id);
  }

  app(id: string): App | undefined {
    return findApp(this.root(), id);
  }

  versions(id: string): readonly string[] {
    const versions = this.#trees.flatMap((tree) => findApp(tree, id)?.version ?? []);
    return [...new Set(versions)].reverse();
  }

  appAt(id: string, version: string): App | undefined {
    return this.#trees.map((tree) => findApp(tree, id)).find((app) => app?.version === version);
  }

  deploy(
    change: Change,
    options: {
      readonly force: boolean;
      readonly restart?: readonly string[];
      readonly kill?: readonly string[];
    },
  ): Promise<Deployed> {
    try {
      const deployment = this.#planned(change);
      this.#mustBeFree(deployment.affected, options.force);
      this.#trees.push({ ...deployment.tree, version: deployment.plan.version });
      this.#deployments.set(deployment.plan.id, deployment.plan);
      const { version, id } = deployment.plan;
      this.asked.push({ deploy: id, ...options });
      for (const task of options.kill ?? []) this.#instances.delete(task);
      return Promise.resolve({ version, deploymentId: id });
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  plan(change: Change): Deployment {
    return this.#planned(change).plan;
  }

  deployments(): readonly Deployment[] {
    return [...this.#deployments.values()];
  }

  cancel(deploymentId: string, { force }: { readonly force: boolean }): Promise<Deployed | undefined> {
    this.#deployments.delete(deploymentId);
    this.asked.push({ cancel: deploymentId, force });
    if (force) return Promise.resolve(undefined);
    const before = this.#trees.at(-2) ?? this.root();
    return this.deploy(() => before, { force: true });
  }

  /** All deployments have done what they had to. */
  finish(): void {
    this.#deployments.clear();
  }

  instances(app?: string): readonly InstanceView[] {
    const all = [...this.#instances.values()];
    return app === undefined ? all : all.filter((instance) => instance.app === app);
  }

  instance(taskId: string): InstanceView | undefined {
    return this.#instances.get(taskId);
  }

  put(instance: InstanceView): void {
    this.#instances.set(instance.taskId, instance);
  }

  lastTaskFailure(app: string): Readonly<Record<string, unknown>> | undefined {
    return this.failures.get(app);
  }

  kill(
    taskIds: readonly string[],
    { wipe, wipeApp }: { readonly wipe: boolean; readonly wipeApp?: string | undefined },
  ): Promise<void> {
    this.asked.push({ kill: taskIds, wipe, ...(wipeApp === undefined ? {} : { wipeApp }) });
    for (const task of taskIds) this.#instances.delete(task);
    return Promise.resolve();
  }

  queue(): readonly QueueItem[] {
    return this.waiting;
  }

  resetDelay(app: string): boolean {
    this.asked.push({ resetDelay: app });
    return this.app(app) !== undefined;
  }

  subscribe(listener: (event: AppEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(event: AppEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  #planned(change: Change) {
    const version = this.#nextVersion();
    const before = appsById(this.root());
    const tree = change(this.root(), version);
    const changed = Array.from(appsOf(tree)).filter((app) => before.get(app.id) !== app);
    const removed = [...before.keys()].filter((id) => findApp(tree, id) === undefined);
    const affected = [...changed.map((app) => app.id), ...removed];
    this.#count += 1;
    const plan = planOf({ id: `d-${this.#count}`, version, affected, original: this.root(), target: tree });
    return { tree, affected, plan };
  }

  #mustBeFree(affected: readonly string[], force: boolean): void {
    const locking = this.deployments().filter((each) =>
      each.affectedApps.some((id) => affected.includes(id)),
    );
    if (locking.length === 0) return;
    if (!force)
      throw new PortolanError('conflict', 'App is locked', {
        details: { deployments: locking.map(({ id }) => ({ id })) },
      });
    for (const { id } of locking) this.#deployments.delete(id);
  }

  #nextVersion(): string {
    this.#clockMs += 1;
    return new Date(this.#clockMs).toISOString();
  }
}

function planOf(init: {
  readonly id: string;
  readonly version: string;
  readonly affected: readonly string[];
  readonly original: Group;
  readonly target: Group;
}): Deployment {
  const { affected, ...rest } = init;
  const actions = affected.map((app) => ({ action: 'ScaleApplication' as const, app }));
  return {
    ...rest,
    affectedApps: affected,
    affectedPods: [],
    steps: [{ actions }],
    currentActions: actions.map((each) => ({ ...each, readinessCheckResults: [] })),
    currentStep: 1,
    totalSteps: 1,
  };
}
