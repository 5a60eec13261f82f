/**
 * The Marathon API: apps, groups, tasks, deployments, queue and events under `/v2`, described at `/v1/openapi.json`.
 *
 * Invariants: every path is in the route table; a change is answered when the orchestrator has it in the store.
 */
import type { Hono } from 'hono';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { NetworkNames } from '../../apps/migrate.ts';
import type { App } from '../../model/app.ts';
import type { AppEvent } from '../../model/deployment.ts';
import type { Orchestrator } from '../apps/types.ts';
import { appRoutes } from './apps.ts';
import { clusterRoutes } from './cluster.ts';
import { dispatch, send } from './dispatch.ts';
import { EventHub } from './event-hub.ts';
import { groupRoutes } from './groups.ts';
import { openApi } from './openapi.ts';
import { Renderer } from './render.ts';
import { RouteTable, type CallRequest } from './routes.ts';
import { streamRoute } from './stream.ts';
import { taskRoutes } from './tasks.ts';

export interface MarathonInfo {
  readonly name: string;
  readonly version: string;
  /** `host:port` of the leading master. */
  readonly leader: string;
  readonly [member: string]: unknown;
}

export interface MarathonComponents {
  readonly orchestrator: Orchestrator;
  readonly renderer: Renderer;
  readonly events: EventHub;
  readonly names: NetworkNames;
  readonly info: () => MarathonInfo;
  /** Tells the event stream of a definition that was sent. */
  readonly posted: (app: App, request: CallRequest) => void;
}

export interface MarathonApiComponents {
  readonly orchestrator: Orchestrator;
  readonly clock: Clock;
  readonly log: Log;
}

export interface MarathonApiInit {
  readonly names: NetworkNames;
  readonly info: () => MarathonInfo;
}

/** One for all doors of a master: they share the event stream. */
export class MarathonApi {
  readonly #log: Log;
  readonly #table: RouteTable;
  readonly #events: EventHub;
  readonly #unsubscribe: () => void;

  constructor({ orchestrator, clock, log }: MarathonApiComponents, { names, info }: MarathonApiInit) {
    this.#log = log.child('marathon');
    this.#events = new EventHub({ clock, log: this.#log });
    this.#unsubscribe = orchestrator.subscribe((event) => this.#events.publish(event));
    const renderer = new Renderer({ orchestrator, nowMs: () => clock.wallMs() });
    const posted = (appDefinition: App, { uri, remote }: CallRequest): void => {
      const timestamp = new Date(clock.wallMs()).toISOString();
      const event: AppEvent = {
        eventType: 'api_post_event',
        clientIp: remote,
        uri,
        appDefinition,
        timestamp,
      };
      this.#events.publish(event);
    };
    const components = { orchestrator, renderer, events: this.#events, names, info, posted };
    this.#table = new RouteTable([
      ...taskRoutes(components),
      ...appRoutes(components),
      ...groupRoutes(components),
      ...clusterRoutes(components),
      streamRoute(components),
    ]);
  }

  addTo(app: Hono): void {
    app.all('/v2/*', async (context) => {
      const response = await dispatch(this.#table, context, { log: this.#log });
      return (
        response ?? send(context, { status: 404, json: { message: `URI not found: ${context.req.path}` } })
      );
    });
    app.get(
      '/ping',
      async (context) => (await dispatch(this.#table, context, { log: this.#log })) ?? context.notFound(),
    );
  }

  openApi(version: string): Readonly<Record<string, unknown>> {
    return openApi(this.#table.routes, version);
  }

  close(): void {
    this.#unsubscribe();
    this.#events.close();
  }
}
