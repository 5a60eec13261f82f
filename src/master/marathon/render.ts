/**
 * Apps, groups and tasks as JSON text.
 *
 * Purpose: `GET /v2/apps` with ten thousand tasks is joined from pieces, not written anew. An app's definition is an
 * immutable object and is written once; so is an instance's view for as long as it is the same object.
 * Invariants: the text is the JSON of the reference "Marathon", sections 1 and 3, in the new form.
 */
import type { App, Group } from '../../model/app.ts';
import type { Deployment, InstanceView } from '../../model/deployment.ts';
import type { Orchestrator } from '../apps/types.ts';
import type { AppEmbed, GroupEmbed } from './embed.ts';
import { taskCounts, taskJson, taskStats } from './task-json.ts';

/** What is told of apps, as of one moment: gathered once for an answer, whatever the number of apps. */
interface Moment {
  readonly instances: ReadonlyMap<string, readonly InstanceView[]>;
  /** By app, the deployments it is in. */
  readonly deployments: ReadonlyMap<string, readonly Deployment[]>;
}

export class Renderer {
  readonly #orchestrator: Orchestrator;
  readonly #nowMs: () => number;
  readonly #apps = new WeakMap<App, string>();
  readonly #tasks = new WeakMap<InstanceView, { readonly app: App | undefined; readonly text: string }>();

  constructor(components: { readonly orchestrator: Orchestrator; readonly nowMs: () => number }) {
    this.#orchestrator = components.orchestrator;
    this.#nowMs = components.nowMs;
  }

  /** `[…]` */
  apps(apps: Iterable<App>, embed: AppEmbed): string {
    const moment = this.#moment();
    return `[${Array.from(apps, (app) => this.#app(app, embed, moment)).join(',')}]`;
  }

  app(app: App, embed: AppEmbed): string {
    return this.#app(app, embed, this.#moment(app.id));
  }

  /** The definition alone, as of a version. */
  definition(app: App): string {
    const known = this.#apps.get(app);
    if (known !== undefined) return known;
    const text = JSON.stringify({ ...app, secrets: {} });
    this.#apps.set(app, text);
    return text;
  }

  tasks(instances: readonly InstanceView[]): string {
    const apps = new Map<string, App | undefined>();
    const appOf = (id: string): App | undefined => {
      if (!apps.has(id)) apps.set(id, this.#orchestrator.app(id));
      return apps.get(id);
    };
    return `[${instances.map((each) => this.task(each, appOf(each.app))).join(',')}]`;
  }

  task(instance: InstanceView, app: App | undefined): string {
    const known = this.#tasks.get(instance);
    if (known !== undefined && known.app === app) return known.text;
    const text = JSON.stringify(taskJson(instance, app?.role ?? '*'));
    this.#tasks.set(instance, { app, text });
    return text;
  }

  group(group: Group, embed: { readonly group: GroupEmbed; readonly app: AppEmbed }): string {
    return this.#group(group, embed, this.#moment());
  }

  #group(
    group: Group,
    embed: { readonly group: GroupEmbed; readonly app: AppEmbed },
    moment: Moment,
  ): string {
    const { id, dependencies, version, enforceRole } = group;
    const own = JSON.stringify({ id, dependencies, version, enforceRole });
    const apps = group.apps.map((app) => this.#app(app, embed.app, moment));
    const groups = group.groups.map((child) => this.#group(child, embed, moment));
    return withMembers(own, [
      embed.group.apps ? `"apps":[${apps.join(',')}]` : '',
      embed.group.pods ? '"pods":[]' : '',
      embed.group.groups ? `"groups":[${groups.join(',')}]` : '',
    ]);
  }

  #app(app: App, embed: AppEmbed, { instances, deployments }: Moment): string {
    const own = instances.get(app.id) ?? [];
    const failure = embed.lastTaskFailure ? this.#orchestrator.lastTaskFailure(app.id) : undefined;
    const running = deployments.get(app.id) ?? [];
    const member = (wanted: boolean, name: string, value: () => unknown): string =>
      wanted ? `"${name}":${JSON.stringify(value())}` : '';
    return withMembers(this.definition(app), [
      embed.counts ? JSON.stringify(taskCounts(own)).slice(1, -1) : '',
      member(embed.deployments, 'deployments', () => running.map(({ id }) => ({ id }))),
      member(embed.readiness, 'readinessCheckResults', () => readinessOf(app.id, running)),
      member(failure !== undefined, 'lastTaskFailure', () => failure),
      member(embed.taskStats, 'taskStats', () => taskStats(app, own, this.#nowMs())),
      embed.tasks ? `"tasks":[${own.map((each) => this.task(each, app)).join(',')}]` : '',
    ]);
  }

  #moment(only?: string): Moment {
    const instances = new Map<string, InstanceView[]>();
    for (const instance of this.#orchestrator.instances(only)) {
      const known = instances.get(instance.app);
      if (known === undefined) instances.set(instance.app, [instance]);
      else known.push(instance);
    }
    const deployments = new Map<string, Deployment[]>();
    for (const deployment of this.#orchestrator.deployments())
      for (const app of deployment.affectedApps)
        deployments.set(app, [...(deployments.get(app) ?? []), deployment]);
    return { instances, deployments };
  }
}

/** `object` is JSON text of an object that is not empty. */
function withMembers(object: string, members: readonly string[]): string {
  const more = members.filter((member) => member !== '');
  return more.length === 0 ? object : `${object.slice(0, -1)},${more.join(',')}}`;
}

function readinessOf(app: string, deployments: readonly Deployment[]): unknown[] {
  const actions = deployments.flatMap(({ currentActions }) => currentActions);
  return actions
    .filter((action) => action.app === app)
    .flatMap(({ readinessCheckResults }) => readinessCheckResults);
}
