/** What one instance of an app asks of an agent. */
import type { App, Constraint } from '../model/app.ts';

export interface Demand {
  readonly app: string;
  readonly cpus: number;
  readonly mem: number;
  readonly disk: number;
  readonly gpus: number;
  readonly runtime: 'mesos' | 'docker';
  /** Overlays that it needs an address of. */
  readonly overlays: readonly string[];
  /** Which of an agent's pools of addresses each comes from. */
  readonly pools: readonly string[];
  /** By declared port: a host port that must be free, 0 = any; `undefined` = needs none. */
  readonly hostPorts: readonly (number | undefined)[];
  readonly constraints: readonly Constraint[];
  readonly acceptedRoles: readonly string[];
  /** Instances that the app is to have. */
  readonly wanted: number;
}

/** The role of agents whose operator gives them none by the attribute `role`. */
export const ANY_ROLE = '*';

/** Each runtime has its half of an agent's block. */
export function poolOf(runtime: 'mesos' | 'docker', overlay: string): string {
  return `${runtime}/${overlay}`;
}

export function demandOf(app: App): Demand {
  const { id, cpus, mem, disk, gpus, constraints, role, acceptedResourceRoles, instances } = app;
  const runtime = app.container?.type === 'DOCKER' ? 'docker' : 'mesos';
  const overlays = app.networks.flatMap(({ mode, name }) => (mode === 'container' ? (name ?? []) : []));
  return {
    ...{ app: id, cpus, mem, disk, gpus, constraints, wanted: instances, runtime, overlays },
    pools: overlays.map((overlay) => poolOf(runtime, overlay)),
    hostPorts: hostPortsOf(app),
    acceptedRoles: acceptedResourceRoles ?? Array.from(new Set([ANY_ROLE, role])),
  };
}

/** In host mode a declared port is the host port only if it is required; else it is just the service port. */
function hostPortsOf(app: App): (number | undefined)[] {
  if (app.portDefinitions !== undefined)
    return app.portDefinitions.map(({ port }) => (app.requirePorts ? port : 0));
  return (app.container?.portMappings ?? []).map(({ hostPort }) => hostPort);
}
