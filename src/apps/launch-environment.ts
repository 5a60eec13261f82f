/** The environment of a task (the reference "Marathon", section 2.6). What the app itself sets wins. */
import type { App } from '../model/app.ts';
import type { LaunchInit } from './launch.ts';
import type { ResolvedPort } from './launch-ports.ts';

const MAX_LABEL_LENGTH = 512;

export function environmentOf(
  app: App,
  { taskId, agentIp, enforceRole }: Pick<LaunchInit, 'taskId' | 'agentIp' | 'enforceRole'>,
  ports: readonly ResolvedPort[],
): Record<string, string> {
  const image = app.container?.docker?.image;
  return {
    MESOS_TASK_ID: taskId,
    MARATHON_APP_ID: app.id,
    MARATHON_APP_VERSION: app.version,
    ...(image === undefined ? {} : { MARATHON_APP_DOCKER_IMAGE: image }),
    MARATHON_APP_RESOURCE_CPUS: decimal(app.cpus),
    MARATHON_APP_RESOURCE_MEM: decimal(app.mem),
    MARATHON_APP_RESOURCE_DISK: decimal(app.disk),
    MARATHON_APP_RESOURCE_GPUS: String(app.gpus),
    MARATHON_APP_ENFORCE_GROUP_ROLE: enforceRole ? 'TRUE' : 'FALSE',
    ...labelVariables(app.labels),
    HOST: agentIp,
    ...portVariables(ports),
    ...app.env,
  };
}

/** Marathon writes these with a decimal point always. */
function decimal(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

function labelVariables(labels: Readonly<Record<string, string>>): Record<string, string> {
  const short = Object.entries(labels)
    .filter(([name, value]) => name.length < MAX_LABEL_LENGTH && value.length < MAX_LABEL_LENGTH)
    .map(([name, value]) => [name.replaceAll(/[^a-zA-Z0-9_]+/g, '_').toUpperCase(), value] as const);
  return {
    MARATHON_APP_LABELS: short.map(([name]) => name).join(' '),
    ...Object.fromEntries(short.map(([name, value]) => [`MARATHON_APP_LABEL_${name}`, value])),
  };
}

/** `PORT` and `PORTS` count host ports and ports chosen at random, not ports fixed in the container: as Marathon does. */
function portVariables(ports: readonly ResolvedPort[]): Record<string, string> {
  const variables: Record<string, string> = {};
  const counted: number[] = [];
  for (const port of ports) {
    const effective = port.hostPort ?? port.containerPort;
    if (effective === undefined) continue;
    if (port.hostPort !== undefined || port.isRandom) {
      variables[`PORT${counted.length}`] = String(effective);
      counted.push(effective);
    }
    variables[`PORT_${port.declared === 0 ? effective : port.declared}`] = String(effective);
    if (port.name !== undefined) variables[`PORT_${port.name.toUpperCase()}`] = String(effective);
  }
  if (counted.length > 0) {
    variables['PORT'] = String(counted[0]);
    variables['PORTS'] = counted.join(',');
  }
  return variables;
}
