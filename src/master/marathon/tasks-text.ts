/**
 * Tasks as lines of text, for scripts: `app TAB service port TAB host:port TAB host:port TAB`.
 *
 * As Marathon's EndpointsHelper: running tasks only; a port without a host port is told by the container's address; an app
 * without ports has one line with the hosts of its tasks. A task that was launched from other ports than the app has now is
 * left out of the lines, where Marathon tells a wrong port.
 */
import { servicePortsOf } from '../../apps/service-ports.ts';
import { protocolsOf, type App } from '../../model/app.ts';
import type { InstanceView } from '../../model/deployment.ts';
import type { TaskPort } from '../../model/task.ts';

export function tasksText(tasks: readonly InstanceView[], appOf: (id: string) => App | undefined): string {
  const members = new Map<string, InstanceView[]>();
  for (const task of tasks) {
    const known = members.get(task.app);
    if (known === undefined) members.set(task.app, [task]);
    else known.push(task);
  }
  return Array.from(members, ([id, own]) => {
    const app = appOf(id);
    return app === undefined ? '' : linesOf(app, own);
  }).join('');
}

function linesOf(app: App, tasks: readonly InstanceView[]): string {
  const name = app.id.slice(1).replaceAll('/', '_');
  const running = tasks.filter(({ state }) => state === 'TASK_RUNNING');
  const servicePorts = servicePortsOf(app);
  if (servicePorts.length === 0)
    return `${name}\t \t${running.map(({ agentIp }) => `${agentIp} `).join('')}\n`;
  const places = placesOf(app);
  return servicePorts
    .map((port, i) => {
      const at = running.flatMap((task) => {
        const address =
          task.launch.ports.length === places.total ? addressOf(task, places.first[i]) : undefined;
        return address === undefined ? [] : [`${address}\t`];
      });
      return `${name}\t${port}\t${at.join('')}\n`;
    })
    .join('');
}

/** Where each declared port is among those of a task, which has one for each protocol. */
function placesOf(app: App): { readonly first: readonly number[]; readonly total: number } {
  const first: number[] = [];
  let total = 0;
  for (const { protocol } of app.portDefinitions ?? app.container?.portMappings ?? []) {
    first.push(total);
    total += protocolsOf(protocol).length;
  }
  return { first, total };
}

function addressOf(task: InstanceView, place = 0): string | undefined {
  const port = task.launch.ports[place];
  if (port?.host_port !== undefined) return `${task.agentIp}:${port.host_port}`;
  const address = port && containerAddress(task, port);
  if (port?.container_port === undefined || address === undefined) return undefined;
  return `${address.includes(':') ? `[${address}]` : address}:${port.container_port}`;
}

/** On the first network that the port is open on. */
function containerAddress({ record }: InstanceView, { networks = [] }: TaskPort): string | undefined {
  return record?.networks.find(({ name = '' }) => networks.length === 0 || networks.includes(name))
    ?.addresses[0];
}
