/**
 * A host dies under load: eight lab hosts with a backend each, seven that call the VIP all the time, and a power cut.
 *
 * Counted is a new connection that fails, by when it was begun: the last of them says how long the dead host's backend
 * stayed in somebody's maps.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { sleep } from '../src/base/clock.ts';
import { request } from '../src/http/client.ts';
import { hostPrefix } from '../src/lab/access.ts';
import { labOff } from '../src/lab/lab.ts';
import { labPaths } from '../src/lab/paths.ts';
import { labRun } from '../src/lab/run.ts';
import type { Bench } from './support/report.ts';
import { atEnd, lab } from './support/run.ts';

const LAB = 'benchdead';
const HOSTS = 8;
const BEFORE_MS = 2_000;
const LOAD_S = 8;
const PORT = 6666;

interface Call {
  /** Wall time in ms of its beginning. */
  readonly at: number;
  readonly ok: boolean;
}

/** Calls every 10 ms, one after another, and gives up each after a second. */
const caller = (address: string): string => `
  const net = require('net'), calls = [], end = Date.now() + ${LOAD_S * 1000};
  (function once() {
    const at = Date.now();
    if (at > end) return console.log(JSON.stringify(calls));
    const socket = net.connect(${PORT}, ${JSON.stringify(address)});
    let done = (ok) => { done = () => 0; socket.destroy(); calls.push({ at, ok }); setTimeout(once, 10); };
    socket.setTimeout(1000, () => done(false));
    socket.on('connect', () => done(true)).on('error', () => done(false));
  })();`;

const server = `require('net').createServer((s) => s.on('error', () => 0)).listen(8080, '::')`;

export const vipDeath: Bench = {
  name: 'vip-death',
  about: `${HOSTS} lab hosts with a backend each, ${HOSTS - 1} calling its VIP every 10 ms, and one host off`,
  async run() {
    await lab(LAB, HOSTS);
    const labels = { VIP_0: `called:${PORT}`, VIP_0_PORT: '8080' };
    for (let i = 1; i <= HOSTS; i++)
      await labRun({
        lab: LAB,
        host: `agent${i}`,
        name: `web${i}`,
        argv: [process.execPath, '-e', server],
        labels,
        runtime: 'native',
      });
    const address = await awaitVip();
    const clients = Array.from({ length: HOSTS - 1 }, (_, i) => call(`agent${i + 2}`, address));
    await sleep(BEFORE_MS);
    const off = Date.now();
    await labOff(LAB, 'agent1');
    const calls = (await Promise.all(clients)).flat();
    const failed = calls.filter(({ ok, at }) => !ok && at >= off - 1_000);
    const last = failed.reduce((latest, { at }) => Math.max(latest, at - off), 0);
    return [
      {
        what: 'last new connection that failed, after the power cut',
        unit: 'ms',
        ours: last,
        promise: { atMost: 1_200 },
      },
      { what: `failed, of ${calls.length} connections in ${LOAD_S} s`, unit: '', ours: failed.length },
    ];
  },
};

/** Until every host has the VIP with all backends. */
async function awaitVip(): Promise<string> {
  for (let tries = 0; tries < 100; tries++) {
    const path = `/v1/vips/inspect?vip=called:${PORT}`;
    const { status, body } = await request(
      { socketPath: labPaths(LAB).apiSocket },
      { method: 'GET', path, timeoutMs: 10_000 },
    );
    const [found] =
      status === 200
        ? (
            body as {
              vips: { addresses: string[]; backends: unknown[]; applied_on: number; hosts_total: number }[];
            }
          ).vips
        : [];
    if (found !== undefined && found.backends.length === HOSTS && found.applied_on === found.hosts_total)
      return found.addresses[0] ?? '';
    await sleep(200);
  }
  throw new Error('the VIP is not on every host');
}

async function call(host: string, address: string): Promise<readonly Call[]> {
  const argv = [...(await hostPrefix(LAB, host)), process.execPath, '-e', caller(address)];
  const child = spawn('env', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  atEnd(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(child, 'close');
  return JSON.parse(text) as Call[];
}
