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
  /** By declared port: a host port that must be free, 0 = any; `undefined` = needs none. */
  readonly hostPorts: readonly (number | undefined)[];
  readonly constraints: readonly Constraint[];
  readonly role: string;
  readonly acceptedRoles: readonly string[] | undefined;
  /** Instances that the app is to have. */
  readonly wanted: number;
}

export function demandOf(app: App): Demand {
  const { id, cpus, mem, disk, gpus, constraints, role, acceptedResourceRoles, instances } = app;
  return {
    ...{ app: id, cpus, mem, disk, gpus, constraints, role, wanted: instances },
    runtime: app.container?.type === 'DOCKER' ? 'docker' : 'mesos',
    overlays: app.networks.flatMap(({ mode, name }) => (mode === 'container' ? (name ?? []) : [])),
    hostPorts: hostPortsOf(app),
    acceptedRoles: acceptedResourceRoles,
  };
}

/** In host mode a declared port is the host port only if it is required; else it is just the service port. */
function hostPortsOf(app: App): (number | undefined)[] {
  if (app.portDefinitions !== undefined)
    return app.portDefinitions.map(({ port }) => (app.requirePorts ? port : 0));
  return (app.container?.portMappings ?? []).map(({ hostPort }) => hostPort);
}
