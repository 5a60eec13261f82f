/**
 * The demo's steps about a service: a Marathon app of several instances behind one name, with one of them ailing and
 * then one of its hosts dead under load.
 */
import { z } from 'zod';
import { eventually, expectEqual, portolan, type DemoLab, type PlacedContainer } from './demo-tools.ts';
import { labOff, type Say } from './lab.ts';

const NAME = 'myservice.marathon.l4lb.thisdcos.directory';
const INSTANCES = 3;
const CALLS = 60;

/**
 * Both of its ports answer with the instance's id. The health check asks for a file, so that taking the file away makes
 * one instance ail; a check of this kind that may fail as often as it likes never ends its task.
 */
const app = {
  id: '/myservice',
  instances: INSTANCES,
  cpus: 0.1,
  mem: 32,
  cmd:
    'mkdir -p www && echo $MESOS_TASK_ID > www/index.html && touch www/health && ' +
    'busybox httpd -p $PORT0 -h www && exec busybox httpd -f -p $PORT1 -h www',
  portDefinitions: [
    { protocol: 'tcp', port: 6666, labels: { VIP_0: 'myservice:6666' }, name: 'jmx' },
    { protocol: 'tcp', port: 7777, labels: { VIP_1: 'myservice:7777' }, name: 'api' },
  ],
  healthChecks: [
    {
      protocol: 'HTTP',
      path: '/health',
      portIndex: 0,
      gracePeriodSeconds: 5,
      intervalSeconds: 1,
      timeoutSeconds: 1,
      delaySeconds: 0,
      maxConsecutiveFailures: 0,
    },
  ],
  constraints: [['hostname', 'UNIQUE']],
};

const tasks = z.object({
  tasks: z.array(
    z.object({
      id: z.string(),
      host: z.string(),
      state: z.string(),
      healthCheckResults: z.array(z.object({ alive: z.boolean() })).optional(),
    }),
  ),
});
type Task = z.infer<typeof tasks>['tasks'][number];

/** One connection after the other; prints what came of them as JSON. Ends after `count` calls or `seconds`. */
const callerScript = (
  port: number,
  limit: { readonly count?: number; readonly seconds?: number },
): string => `
const http = require('node:http');
const begin = Date.now();
const told = { calls: 0, failed: 0, lastFailure: 0, by: {} };
const over = () => told.calls >= ${limit.count ?? 1e9} || Date.now() - begin >= ${(limit.seconds ?? 60) * 1000};
function call() {
  if (over()) return console.log(JSON.stringify(told));
  told.calls++;
  const began = Date.now();
  let settled = false;
  const settle = (who) => {
    if (settled) return;
    settled = true;
    if (who === undefined) { told.failed++; told.lastFailure = began; }
    else told.by[who] = (told.by[who] ?? 0) + 1;
    setTimeout(call, ${limit.count === undefined ? 5 : 0});
  };
  const asked = http.get({ host: '${NAME}', port: ${port}, agent: false, timeout: 1000 }, (answer) => {
    let text = '';
    answer.on('data', (piece) => (text += piece));
    answer.on('end', () => settle(answer.statusCode === 200 ? text.trim() : undefined));
  });
  asked.on('timeout', () => { settle(undefined); asked.destroy(); });
  asked.on('error', () => settle(undefined));
}
call();`;

const calls = z.object({
  calls: z.int(),
  failed: z.int(),
  /** When the last call that failed began, in ms of wall time; 0 = none failed. */
  lastFailure: z.number(),
  by: z.record(z.string(), z.int()),
});
type Calls = z.infer<typeof calls>;

export interface ServiceStory {
  readonly lab: DemoLab;
  readonly hosts: readonly string[];
  readonly client: PlacedContainer;
}

/** Posts the app and calls it by name, at both ports, from every host and from a container. */
export async function serviceByName({ lab, hosts, client }: ServiceStory, note: Say): Promise<void> {
  await lab.api('POST', '/v2/apps', app);
  const running = await healthyTasks(lab, INSTANCES);
  note(
    `${INSTANCES} instances of ${app.id} run, on ${running
      .map(({ host }) => host)
      .sort()
      .join(', ')}`,
  );
  for (const port of [6666, 7777])
    for (const host of hosts) {
      const ask = async (): Promise<Calls> => parse(await lab.onHost(host, node(port, { count: CALLS })));
      const told = await eventually(`all instances answer ${host} at ${port}`, 20_000, async () => {
        const answer = await ask();
        return answer.failed === 0 && Object.keys(answer.by).length === INSTANCES ? answer : undefined;
      });
      note(`${host} calls ${NAME}:${port} ${CALLS} times, answered ${shares(told, running)}`);
    }
  const told = parse(await lab.inContainer(client, node(7777, { count: CALLS })));
  expectEqual('failed calls from a container', told.failed, 0);
  note(`container ${client.name} calls it too, answered ${shares(told, running)}`);
}

/** One instance fails its check: new calls go to the others, and none fails meanwhile. */
export async function oneAils({ lab, hosts, client }: ServiceStory, note: Say): Promise<void> {
  const running = await healthyTasks(lab, INSTANCES);
  const ailing = running.find(({ host }) => host !== addressOf(client.host));
  if (ailing === undefined) throw new Error('every instance is on the host of the client');
  const load = lab.inContainer(client, node(7777, { seconds: 6 }));
  await portolan(lab, nameOf(ailing.host, hosts), ['task', 'exec', ailing.id, '--', 'rm', 'www/health']);
  await healthyTasks(lab, INSTANCES - 1);
  const during = parse(await load);
  expectEqual('failed calls while one instance turns unhealthy', during.failed, 0);
  note(
    `the instance on ${ailing.host} turns unhealthy under load: ${during.failed} of ${during.calls} calls fail`,
  );
  const after = await eventually('the ailing instance gets no calls', 20_000, async () => {
    const told = parse(await lab.inContainer(client, node(7777, { count: CALLS })));
    return told.failed === 0 && told.by[ailing.id] === undefined ? told : undefined;
  });
  note(`then ${CALLS} calls are answered ${shares(after, running)}`);
  await portolan(lab, nameOf(ailing.host, hosts), ['task', 'exec', ailing.id, '--', 'touch', 'www/health']);
  await healthyTasks(lab, INSTANCES);
}

/** Power cut at a host that has an instance, while a container of another host calls. */
export async function hostDies({ lab, client }: ServiceStory, dying: string, note: Say): Promise<void> {
  const load = lab.inContainer(client, node(7777, { seconds: 8 }));
  const begun = Date.now() + 2000;
  await eventually('the load is under way', 5000, async () => (Date.now() >= begun ? true : undefined));
  const cut = Date.now();
  await labOff(lab.lab, dying);
  const told = parse(await load);
  note(`${dying} is switched off under load: ${told.failed} of ${told.calls} calls fail`);
  const lastBegan = Math.max(0, told.lastFailure - cut);
  note(
    told.failed === 0
      ? 'nobody noticed'
      : `the last failed call began ${(lastBegan / 1000).toFixed(1)} s after the power cut`,
  );
  const after = parse(await lab.inContainer(client, node(7777, { count: CALLS })));
  expectEqual('failed calls after that', after.failed, 0);
}

const node = (port: number, limit: Parameters<typeof callerScript>[1]): readonly string[] => [
  process.execPath,
  '-e',
  callerScript(port, limit),
];

function parse(result: { readonly stdout: string; readonly stderr: string }): Calls {
  if (result.stdout === '') throw new Error(`the caller said nothing: ${result.stderr}`);
  return calls.parse(JSON.parse(result.stdout));
}

/** `20 + 21 + 19`, in the order of the instances' hosts. */
function shares({ by }: Calls, running: readonly Task[]): string {
  return running
    .toSorted((a, b) => (a.host < b.host ? -1 : 1))
    .map(({ id }) => by[id] ?? 0)
    .join(' + ');
}

/** Resolves to the running instances when so many of them are healthy. */
async function healthyTasks(lab: DemoLab, count: number): Promise<readonly Task[]> {
  return eventually(`${count} healthy instances`, 60_000, async () => {
    const found = tasks.parse(await lab.api('GET', '/v2/apps//myservice/tasks')).tasks;
    const healthy = found.filter(
      ({ state, healthCheckResults: results = [] }) =>
        state === 'TASK_RUNNING' && results.length > 0 && results.every(({ alive }) => alive),
    );
    return healthy.length === count ? found : undefined;
  });
}

/** Lab agents are agent1 at 10.0.0.11, and so on. */
const addressOf = (host: string): string => `10.0.0.${10 + Number(host.replace('agent', ''))}`;
const nameOf = (address: string, hosts: readonly string[]): string =>
  hosts.find((host) => addressOf(host) === address) ?? address;
