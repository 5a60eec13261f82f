/**
 * An app of eight instances with addresses of their own, that is upgraded while it is called: by the address of its VIP,
 * or by the addresses that its name has at that moment.
 *
 * Every request is a new connection and counts as failed unless its whole answer came: nothing is tried again.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { z } from 'zod';
import { sleep } from '../../src/base/clock.ts';
import { hostPrefix } from '../../src/lab/access.ts';
import { eventually, type DemoLab } from '../../src/lab/demo-tools.ts';

export const INSTANCES = 8;
const NAME = 'rolling.marathon';
const VIP_PORT = 80;
const CONTAINER_PORT = 8080;
const LIMIT_MS = 150_000;
/** Requests of one caller at once. */
const AT_ONCE = 8;

/** No more than two instances are missing or too many at any time, so that an upgrade takes several steps. */
const app = (version: number): object => ({
  ...{ id: '/rolling', instances: INSTANCES, cpus: 0.5, mem: 32, env: { VERSION: String(version) } },
  cmd: `mkdir -p www && echo $VERSION > www/index.html && exec busybox httpd -f -p ${CONTAINER_PORT} -h www`,
  networks: [{ mode: 'container', name: 'dcos' }],
  container: {
    type: 'MESOS',
    portMappings: [
      { containerPort: CONTAINER_PORT, name: 'http', labels: { VIP_0: `/rolling:${VIP_PORT}` } },
    ],
  },
  healthChecks: [
    {
      protocol: 'MESOS_HTTP',
      path: '/',
      portIndex: 0,
      gracePeriodSeconds: 30,
      intervalSeconds: 1,
      timeoutSeconds: 10,
    },
  ],
  upgradeStrategy: { minimumHealthCapacity: 0.75, maximumOverCapacity: 0.25 },
  taskKillGracePeriodSeconds: 1,
});

const shown = z.object({
  app: z.object({
    tasksHealthy: z.int(),
    deployments: z.array(z.unknown()),
    tasks: z.array(z.object({ id: z.string() })),
  }),
});

export class RollingApp {
  readonly #lab: DemoLab;
  #version = 0;

  constructor(lab: DemoLab) {
    this.#lab = lab;
  }

  /** Resolves when all run, are healthy, and answer on each of the hosts under both names. */
  async start(hosts: readonly string[]): Promise<void> {
    await this.#lab.api('POST', '/v2/apps', app(this.#version));
    await this.#settled();
    for (const host of hosts)
      for (const path of ['vip', 'name'] as const)
        await eventually(`${host} is answered by ${path}`, LIMIT_MS, async () => {
          const told = await this.call(host, path, 1).told;
          return told.failed === 0 ? true : undefined;
        });
  }

  /** Resolves when every instance is one of the new version. */
  async upgrade(): Promise<void> {
    this.#version++;
    await this.#lab.api('PUT', '/v2/apps//rolling', app(this.#version));
    await this.#settled();
  }

  async #settled(): Promise<void> {
    await eventually(`version ${this.#version} runs`, LIMIT_MS, async () => {
      const { app: now } = shown.parse(await this.#lab.api('GET', '/v2/apps//rolling'));
      const isDone =
        now.deployments.length === 0 && now.tasks.length === INSTANCES && now.tasksHealthy === INSTANCES;
      if (isDone) return true;
      // Asking costs what the load should have.
      await sleep(250);
      return undefined;
    });
  }

  /** Calls from a host, again and again, until `count` requests or `end()`. */
  call(host: string, path: CallPath, count: number): Caller {
    return new Caller(hostPrefix(this.#lab.lab, host), path, count);
  }
}

/** `name`: the name of the tasks is resolved anew for each request, and one of its addresses taken. */
export type CallPath = 'vip' | 'name';

const toldByCaller = z.object({
  requests: z.int(),
  failed: z.int(),
  /** What failed, how often. */
  errors: z.record(z.string(), z.int()),
  /** Which versions answered, how often. */
  versions: z.record(z.string(), z.int()),
});
export type Told = z.infer<typeof toldByCaller>;

export class Caller {
  readonly told: Promise<Told>;
  #child: ChildProcess | undefined;
  #isEnded = false;

  constructor(prefix: Promise<readonly string[]>, path: CallPath, count: number) {
    this.told = prefix.then((words) => this.#run([...words, process.execPath, '-e', script(path, count)]));
  }

  /** No new requests; those under way are awaited. */
  end(): void {
    this.#isEnded = true;
    this.#child?.stdin?.end();
  }

  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  #run([program = '', ...args]: readonly string[]): Promise<Told> {
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      this.#child = child;
      child.stdin.on('error', () => undefined);
      if (this.#isEnded) child.stdin.end();
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
      child.once('error', reject);
      child.once('close', () =>
        text === ''
          ? reject(new Error('the caller said nothing'))
          : resolve(toldByCaller.parse(JSON.parse(text))),
      );
    });
  }
}

const script = (path: CallPath, count: number): string => `
  const net = require('net');
  const resolver = new (require('dns').promises.Resolver)();
  const told = { requests: 0, failed: 0, errors: {}, versions: {} };
  let ended = false, under = 0;
  process.stdin.on('end', () => (ended = true)).resume();
  async function addressOf(name) {
    const found = await resolver.resolve4(name);
    return found[Math.floor(Math.random() * found.length)];
  }
  const target = ${
    path === 'vip'
      ? `async () => [await addressOf('${NAME}.l4lb.thisdcos.directory'), ${VIP_PORT}]`
      : `async () => [await addressOf('${NAME}.containerip.dcos.thisdcos.directory'), ${CONTAINER_PORT}]`
  };
  function ask([address, port]) {
    return new Promise((resolve, reject) => {
      let text = '';
      const socket = net.connect(port, address, () => socket.write('GET / HTTP/1.0\\r\\n\\r\\n'));
      socket.setTimeout(5000, () => socket.destroy(new Error('timeout')));
      socket.on('data', (data) => (text += data));
      socket.on('error', (error) => reject(new Error((error.code ?? error.message) + ' ' + address)));
      socket.on('end', () => {
        const [, version] = /^HTTP\\/1\\.[01] 200 .*\\r\\n\\r\\n(\\d+)\\n$/s.exec(text) ?? [];
        if (version === undefined) reject(new Error('answered ' + JSON.stringify(text.slice(0, 100))));
        else resolve(version);
      });
    });
  }
  async function again() {
    while (!ended && told.requests < ${count}) {
      told.requests++;
      try {
        const version = await ask(await target());
        told.versions[version] = (told.versions[version] ?? 0) + 1;
      } catch (error) {
        told.failed++;
        told.errors[error.message] = (told.errors[error.message] ?? 0) + 1;
      }
    }
  }
  Promise.all(Array.from({ length: ${AT_ONCE} }, again)).then(() => {
    console.log(JSON.stringify(told));
    process.exit();
  });`;
