/** A deployment under way: where it is, and what that means for each of its apps. */
import type { App, Group } from '../model/app.ts';
import type { Deployment, DeploymentStep, ReadinessResult } from '../model/deployment.ts';
import { affectedApps } from './deployment-plan.ts';
import { appsById } from './tree.ts';

/** What the store keeps; the trees are there by their versions. */
export interface StoredDeployment {
  readonly id: string;
  readonly version: string;
  readonly originalVersion: string;
  readonly steps: readonly DeploymentStep[];
  /** Index of the step under way. */
  readonly at: number;
  readonly restart: readonly string[];
}

/** How an app is to be kept now. */
export type Mode =
  | { readonly kind: 'scale'; readonly app: App; readonly wanted: number }
  /** `since`: instances of earlier versions are old, whatever their configuration. */
  | { readonly kind: 'upgrade'; readonly app: App; readonly since: string | undefined }
  | { readonly kind: 'stop' };

export class RunningDeployment {
  readonly stored: StoredDeployment;
  readonly original: Group;
  readonly target: Group;
  readonly affected: readonly string[];
  readonly #before: ReadonlyMap<string, App>;
  readonly #after: ReadonlyMap<string, App>;

  constructor(stored: StoredDeployment, original: Group, target: Group) {
    this.stored = stored;
    this.original = original;
    this.target = target;
    this.affected = affectedApps(stored.steps);
    this.#before = appsById(original);
    this.#after = appsById(target);
  }

  get id(): string {
    return this.stored.id;
  }

  get step(): DeploymentStep | undefined {
    return this.stored.steps[this.stored.at];
  }

  next(): RunningDeployment {
    return new RunningDeployment({ ...this.stored, at: this.stored.at + 1 }, this.original, this.target);
  }

  originalOf(app: string): App | undefined {
    return this.#before.get(app);
  }

  /** Before its turn an app is kept as it was, after it as it is to be. */
  modeOf(app: string): Mode {
    const { steps, at } = this.stored;
    const turn = steps.findLastIndex(({ actions }) => actions.some((each) => each.app === app));
    const action = steps[turn]?.actions.find((each) => each.app === app)?.action;
    const before = this.#before.get(app);
    const after = this.#after.get(app);
    if (at < turn) {
      const kept = before ?? after;
      return kept === undefined
        ? { kind: 'stop' }
        : { kind: 'scale', app: kept, wanted: before?.instances ?? 0 };
    }
    if (after === undefined) return { kind: 'stop' };
    if (at > turn || action !== 'RestartApplication')
      return { kind: 'scale', app: after, wanted: after.instances };
    const since = this.stored.restart.includes(app) ? this.stored.version : undefined;
    return { kind: 'upgrade', app: after, since };
  }

  view(readiness: (app: string) => readonly ReadinessResult[]): Deployment {
    const { id, version, steps, at } = this.stored;
    return {
      ...{ id, version, steps, affectedApps: this.affected, affectedPods: [] },
      currentActions: (this.step?.actions ?? []).map((each) => ({
        ...each,
        readinessCheckResults: readiness(each.app),
      })),
      currentStep: Math.min(at + 1, steps.length),
      totalSteps: steps.length,
      original: this.original,
      target: this.target,
    };
  }
}
