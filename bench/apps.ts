/** Starting many containers from one definition, against Docker starting as many on a network of its own. */
import { sleep } from '../src/base/clock.ts';
import { request } from '../src/http/client.ts';
import { dockerSocket } from '../src/lab/docker-hosts.ts';
import { ensureBusyboxImage } from '../src/lab/docker-image.ts';
import { hostPaths, labPaths } from '../src/lab/paths.ts';
import type { Bench } from './support/report.ts';
import { lab, type Output } from './support/run.ts';

const LAB = 'benchapps';
const HOSTS = ['agent1', 'agent2', 'agent3'];
const TASKS = 200;
const AT_ONCE = 4;
const LIMIT_MS = 180_000;

export const apps: Bench = {
  name: 'apps',
  about: `${TASKS} containers (sleep, own address) on ${HOSTS.length} lab hosts from one POST, until all run and every agent knows every address; docker run on a user network of one host, ${AT_ONCE} at a time`,
  async run() {
    const inLab = await lab(LAB, HOSTS.length, '--docker');
    const ours = await startApp();
    console.error(`${TASKS} containers after ${ours.toFixed(1)} s`);
    await removeApp();
    const peer = await startByDocker(inLab);
    return [
      { what: `${TASKS} containers, at most`, unit: 's', ours, promise: { atMost: 60 } },
      {
        what: `${TASKS} containers, against Docker`,
        unit: 's',
        ours,
        peer,
        peerName: `docker run, ${AT_ONCE} at a time`,
        promise: { atMost: 0.6 },
      },
    ];
  },
};

const api = { socketPath: labPaths(LAB).apiSocket };

async function startApp(): Promise<number> {
  const body = {
    id: '/many',
    cmd: 'exec sleep 100000',
    instances: TASKS,
    cpus: 0.02,
    mem: 8,
    networks: [{ mode: 'container', name: 'dcos' }],
    container: { type: 'MESOS', portMappings: [] },
  };
  const start = performance.now();
  const { status, body: answer } = await request(api, {
    method: 'POST',
    path: '/v2/apps',
    body,
    timeoutMs: 30_000,
  });
  if (status !== 201) throw new Error(`the app was answered with ${status}: ${JSON.stringify(answer)}`);
  await until('all run and are known everywhere', start, async () => {
    const { body: told } = await request(api, { method: 'GET', path: '/v2/apps/many', timeoutMs: 30_000 });
    const { app } = told as {
      app: { tasksRunning: number; tasks: { ipAddresses: { ipAddress: string }[] }[] };
    };
    if (app.tasksRunning < TASKS) return `${app.tasksRunning} run`;
    const addresses = app.tasks.map((task) => task.ipAddresses[0]?.ipAddress);
    const missing = await Promise.all(HOSTS.map((host) => unknownTo(host, addresses)));
    return missing.every((count) => count === 0) ? undefined : `unknown to the agents: ${missing.join(', ')}`;
  });
  return (performance.now() - start) / 1000;
}

/** How many of the addresses an agent has not heard of. */
async function unknownTo(host: string, addresses: readonly (string | undefined)[]): Promise<number> {
  const agent = { socketPath: hostPaths(LAB, host).agentSocket };
  const { body } = await request(agent, { method: 'GET', path: '/v1/endpoints', timeoutMs: 30_000 });
  const { endpoints } = body as { endpoints: { addresses: string[] }[] };
  const known = new Set(endpoints.flatMap((each) => each.addresses.map((address) => address.split('/')[0])));
  return addresses.filter((address) => !known.has(address)).length;
}

async function removeApp(): Promise<void> {
  await request(api, { method: 'DELETE', path: '/v2/apps/many', timeoutMs: 30_000 });
  await until('all have ended', performance.now(), async () => {
    const { body } = await request(api, { method: 'GET', path: '/v2/tasks', timeoutMs: 30_000 });
    const { tasks } = body as { tasks: unknown[] };
    return tasks.length === 0 ? undefined : `${tasks.length} are left`;
  });
}

/** `condition` says what is missing, and nothing when it holds. */
async function until(
  what: string,
  start: number,
  condition: () => Promise<string | undefined>,
): Promise<void> {
  for (;;) {
    const missing = await condition();
    if (missing === undefined) return;
    if (performance.now() - start > LIMIT_MS)
      throw new Error(`not after ${LIMIT_MS / 1000} s: ${what}: ${missing}`);
    await sleep(200);
  }
}

async function startByDocker(inLab: (host: string, ...argv: string[]) => Promise<Output>): Promise<number> {
  await ensureBusyboxImage(dockerSocket(hostPaths(LAB, 'agent1')));
  await inLab('agent1', 'docker', 'network', 'create', 'bench');
  const one =
    'docker run -d --network bench --cpus 0.02 --memory 8m portolan/busybox sleep 100000 >/dev/null';
  const start = performance.now();
  await inLab('agent1', 'sh', '-ec', `seq ${TASKS} | xargs -P ${AT_ONCE} -I N sh -c '${one}'`);
  return (performance.now() - start) / 1000;
}
