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
/** Of load, after the host is off. */
const AFTER_MS = 5_000;
const PORT = 6666;

interface Call {
  /** Wall time in ms of its beginning. */
  readonly at: number;
  readonly ok: boolean;
}

/** Calls every 10 ms, one after another, and gives up each after a second; until its input ends. */
const caller = (address: string): string => `
  const net = require('net'), calls = [];
  let ended = false;
  process.stdin.on('end', () => (ended = true)).resume();
  (function once() {
    const at = Date.now();
    if (ended) return console.log(JSON.stringify(calls));
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
    const begun = Date.now();
    await labOff(LAB, 'agent1');
    await sleep(AFTER_MS);
    for (const { end } of clients) end();
    const calls = (await Promise.all(clients.map((client) => client.calls))).flat();
    const failed = calls.filter(({ ok, at }) => !ok && at >= begun - 1_000).map(({ at }) => at);
    if (failed.length === 0) throw new Error('no call failed: the host that died was not called');
    // Turning a host off takes its time: its backend is gone when the first call fails.
    const last = Math.max(...failed) - Math.min(...failed);
    return [
      {
        what: 'from the first new connection that failed until the last',
        unit: 'ms',
        ours: last,
        promise: { atMost: 1_200 },
      },
      { what: `failed, of ${calls.length} connections`, unit: '', ours: failed.length },
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

function call(host: string, address: string): { end(): void; readonly calls: Promise<readonly Call[]> } {
  let end = (): void => undefined;
  const calls = (async (): Promise<readonly Call[]> => {
    const argv = [...(await hostPrefix(LAB, host)), process.execPath, '-e', caller(address)];
    const child = spawn('env', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    atEnd(() => child.kill('SIGKILL'));
    end = () => child.stdin.end();
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await once(child, 'close');
    return JSON.parse(text) as Call[];
  })();
  return { end: () => end(), calls };
}
