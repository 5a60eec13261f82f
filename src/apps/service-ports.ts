/** Service ports: what load balancers listen on, unique over all apps (the reference "Marathon", section 2.5). */
import { PortolanError } from '../base/errors.ts';
import type { App } from '../model/app.ts';

export const LOCAL_PORT_MIN = 10_000;
export const LOCAL_PORT_MAX = 20_000;

/** In the order of the port definitions, or of the port mappings. */
export function servicePortsOf(app: App): readonly number[] {
  return (
    app.portDefinitions?.map((definition) => definition.port) ??
    app.container?.portMappings?.map((mapping) => mapping.servicePort) ??
    []
  );
}

/**
 * Replaces every 0: by the ports the app had before and does not name now, then by the lowest that no app has.
 *
 * `taken` holds what other apps have, and takes on what this one gets. Throws 'exhausted'.
 */
export function assignServicePorts(app: App, before: readonly number[], taken: Set<number>): App {
  for (const port of servicePortsOf(app)) if (port !== 0) taken.add(port);
  const spare = before.filter((port) => port !== 0 && !taken.has(port));
  let next = LOCAL_PORT_MIN;
  const assign = (port: number): number => {
    if (port !== 0) return port;
    const reused = spare.shift();
    const chosen = reused ?? nextFree();
    taken.add(chosen);
    return chosen;
  };
  const nextFree = (): number => {
    while (taken.has(next)) next += 1;
    if (next > LOCAL_PORT_MAX)
      throw new PortolanError('exhausted', `Cannot assign a service port to app "${app.id}": none is free`, {
        remedy: `name service ports outside ${LOCAL_PORT_MIN}-${LOCAL_PORT_MAX}, or remove apps`,
      });
    return next;
  };
  return withServicePorts(app, assign);
}

function withServicePorts(app: App, assign: (port: number) => number): App {
  const { portDefinitions, container } = app;
  if (portDefinitions !== undefined)
    return { ...app, portDefinitions: portDefinitions.map((each) => ({ ...each, port: assign(each.port) })) };
  if (container?.portMappings === undefined) return app;
  const portMappings = container.portMappings.map((each) => ({
    ...each,
    servicePort: assign(each.servicePort),
  }));
  return { ...app, container: { ...container, portMappings } };
}
