/**
 * What the Marathon API asks of the orchestrator, and what it hears from it.
 *
 * Purpose: the API speaks JSON, schemas and status codes; the orchestrator owns groups, deployments and instances.
 * Invariants: a change that was answered is in the store; `deploy` changes the whole tree at once or nothing.
 */
import type { App, Group } from '../../model/app.ts';
import type { AppEvent, Deployment, InstanceView, QueueItem } from '../../model/deployment.ts';

export interface Deployed {
  /** Version of the new tree, an RFC 3339 time. */
  readonly version: string;
  readonly deploymentId: string;
}

export interface Orchestrator {
  /** The tree as last deployed. */
  root(): Group;
  /** The tree of that version; `undefined` = never was, or is forgotten. */
  rootAt(version: string): Group | undefined;
  /** When a group, or something in it, was another than before, newest first; as far back as trees are kept. */
  groupVersions(id: string): readonly string[];
  app(id: string): App | undefined;
  /** Versions of an app, newest first. */
  versions(id: string): readonly string[];
  appAt(id: string, version: string): App | undefined;
  /**
   * Makes the tree what `change` returns; `change` is given the tree of that moment and is called once.
   *
   * Rejects with `conflict` and `deployments` while an app that changes is under another deployment, unless forced.
   * `restart` names apps that are restarted although their definition does not change; `kill` tasks to be ended first.
   */
  deploy(
    change: (root: Group, version: string) => Group,
    options: {
      readonly force: boolean;
      readonly restart?: readonly string[];
      readonly kill?: readonly string[];
    },
  ): Promise<Deployed>;
  /** The steps that `deploy` would take. */
  plan(change: (root: Group, version: string) => Group): Deployment;
  deployments(): readonly Deployment[];
  /** Without force: reverts by a new deployment. With force: stops where it is, and resolves with `undefined`. */
  cancel(deploymentId: string, options: { readonly force: boolean }): Promise<Deployed | undefined>;
  /** Of all apps, or of one. */
  instances(app?: string): readonly InstanceView[];
  instance(taskId: string): InstanceView | undefined;
  lastTaskFailure(app: string): Readonly<Record<string, unknown>> | undefined;
  /**
   * Ends tasks without changing the number of instances: they are replaced. `wipe` also removes their persistent volumes,
   * and `wipeApp` those of an app that no task of it uses.
   */
  kill(
    taskIds: readonly string[],
    options: { readonly wipe: boolean; readonly wipeApp?: string | undefined },
  ): Promise<void>;
  queue(): readonly QueueItem[];
  /** False = the app does not wait. */
  resetDelay(app: string): boolean;
  /** Returns how to stop listening. */
  subscribe(listener: (event: AppEvent) => void): () => void;
}
