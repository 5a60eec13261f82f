/** The real executables, native and shell, against the real server. */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { realClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { CniError, cniCodes } from '../cni/errors.ts';
import type { CniRequest } from '../cni/request.ts';
import { SUPPORTED_VERSIONS } from '../cni/versions.ts';
import type { CniVerbs } from './cni-answer.ts';
import { serveCni, type CniServer } from './cni-server.ts';

const root = resolve(import.meta.dirname, '../..');
/** Set-up installs one where there is none. */
const compiler = ['/usr/bin/cc', '/usr/bin/gcc'].find((path) => existsSync(path)) ?? 'cc';

let directory: string;
let socket: string;
let server: CniServer;
let native: string;
let freestanding: string;
const seen: CniRequest[] = [];

const verbs: CniVerbs = {
  add: (request) => {
    seen.push(request);
    if (request.container === 'refused')
      return Promise.reject(new CniError(cniCodes.portInUse, 'port "80" is taken', 'choose another'));
    const labels = Object.values(request.config.labels).join('');
    return Promise.resolve({ interfaces: [{ name: labels }], ips: [], routes: [], dns: {} });
  },
  del: () => Promise.resolve(),
  check: () => Promise.resolve(),
  gc: () => Promise.resolve(),
  status: () => Promise.resolve(),
};

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pcn-shim-'));
  socket = join(directory, 'cni.sock');
  native = await compile('portolan-cni', []);
  // As scripts/build-shim.sh does.
  freestanding = await compile('portolan-cni-freestanding', [
    ...['-DPORTOLAN_FREESTANDING', '-ffreestanding', '-nostdlib', '-static'],
    ...['-fno-stack-protector', '-fno-pie', '-no-pie'],
  ]);
  server = await serveCni({ verbs, clock: realClock, log: silentLog, metrics: createMetrics() }, socket);
});

afterAll(async () => {
  await server.close();
  expect((await readdir(directory)).filter((name) => !name.startsWith('portolan-cni'))).toEqual([]);
  await rm(directory, { recursive: true, force: true });
});

async function compile(name: string, flags: readonly string[]): Promise<string> {
  const target = join(directory, name);
  const warnings = ['-O2', '-Wall', '-Wextra', '-Werror'];
  await promisify(execFile)(compiler, [
    ...warnings,
    ...flags,
    '-o',
    target,
    `${root}/src/cni/portolan-cni.c`,
  ]);
  return target;
}

interface Run {
  readonly exitCode: number | null;
  readonly stdout: string;
}

function run(command: readonly string[], environment: Record<string, string>, stdin: string): Promise<Run> {
  return new Promise((done, failed) => {
    const [file = '', ...args] = command;
    const child = spawn(file, args, {
      env: { PATH: process.env['PATH'] ?? '', PORTOLAN_CNI_SOCKET: socket, ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let stdout = '';
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stdin.on('error', () => undefined);
    child.once('error', failed);
    child.once('close', (exitCode) => done({ exitCode, stdout }));
    child.stdin.end(stdin);
  });
}

const add = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_NETNS: '/run/netns/c1', CNI_IFNAME: 'eth0' };
const config = (extra: Record<string, unknown> = {}): string =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'dcos', type: 'portolan-cni', ...extra }, null, 2);

const forms: readonly (readonly [string, () => readonly string[]])[] = [
  ['native', () => [native]] as const,
  ['freestanding', () => [freestanding]],
  ['shell', () => ['/bin/sh', `${root}/src/cni/portolan-cni.sh`]],
];

describe.each(forms)('the %s executable', (_name, command) => {
  test('carries variables and configuration to the agent and its answer back', async () => {
    const label = 'quotes " \\ $HOME `x` ä\n end';
    const text = config({ args: { cni: { labels: [{ key: 'k', value: label }] } } });
    const outcome = await run(command(), { ...add, CNI_ARGS: 'K8S_POD_NAME=we b;X=%s\\n' }, text);
    expect(outcome.exitCode).toBe(0);
    expect(JSON.parse(outcome.stdout)).toMatchObject({ cniVersion: '1.0.0', interfaces: [{ name: label }] });
    expect(seen.at(-1)).toMatchObject({ container: 'c1', netns: '/run/netns/c1', containerName: 'we b' });
  });
  test('ends with the code the agent gave and its error object', async () => {
    const outcome = await run(command(), { ...add, CNI_CONTAINERID: 'refused' }, config());
    expect(outcome.exitCode).toBe(1);
    expect(JSON.parse(outcome.stdout)).toEqual({
      cniVersion: '1.0.0',
      code: 103,
      msg: 'port "80" is taken',
      details: 'choose another',
    });
  });
  test('prints nothing for DEL', async () => {
    expect(await run(command(), { ...add, CNI_COMMAND: 'DEL' }, config())).toEqual({
      exitCode: 0,
      stdout: '',
    });
  });
  test('answers VERSION without an agent', async () => {
    const environment = { CNI_COMMAND: 'VERSION', PORTOLAN_CNI_SOCKET: '/nonexistent/socket' };
    const outcome = await run(command(), environment, '{ "cniVersion" : "0.4.0" }');
    expect(outcome.exitCode).toBe(0);
    expect(JSON.parse(outcome.stdout)).toEqual({
      cniVersion: '0.4.0',
      supportedVersions: SUPPORTED_VERSIONS,
    });
    const unknown = await run(command(), environment, '{"cniVersion":"9.9.9"}');
    expect(JSON.parse(unknown.stdout)).toMatchObject({ cniVersion: '1.1.0' });
  });
  test('says that no agent runs, in the version asked with, as code 11 with the remedy', async () => {
    const outcome = await run(command(), { ...add, PORTOLAN_CNI_SOCKET: '/nonexistent/socket' }, config());
    expect(outcome.exitCode).toBe(1);
    const error = JSON.parse(outcome.stdout) as Record<string, unknown>;
    expect(error).toMatchObject({ cniVersion: '1.0.0', code: 11 });
    expect(error['msg']).toContain('agent does not run');
    expect(error['details']).toContain('systemctl start');
  });
  test('refuses a variable with a line break as code 4', async () => {
    const outcome = await run(command(), { ...add, CNI_ARGS: 'A=1\nCNI_COMMAND=DEL' }, config());
    expect(outcome.exitCode).toBe(1);
    expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 4, cniVersion: '1.0.0' });
    expect(outcome.stdout).toContain('CNI_ARGS');
  });
  test('carries a large configuration whole', async () => {
    const label = 'x'.repeat(60_000);
    const outcome = await run(command(), add, config({ args: { cni: { labels: { k: label } } } }));
    expect(JSON.parse(outcome.stdout)).toMatchObject({ interfaces: [{ name: label }] });
  });
  test('many at once do not mix', async () => {
    const runs = Array.from({ length: 12 }, (_, i) =>
      run(command(), add, config({ args: { cni: { labels: { k: `n${i}` } } } })),
    );
    const names = (await Promise.all(runs)).map(
      ({ stdout }) => (JSON.parse(stdout) as { interfaces: { name: string }[] }).interfaces[0]?.name,
    );
    expect(names).toEqual(Array.from({ length: 12 }, (_, i) => `n${i}`));
  });
});

describe.each(forms.filter(([name]) => name !== 'shell'))('the %s executable alone', (_name, command) => {
  async function against(handler: Parameters<typeof createServer>[1]): Promise<Run> {
    const path = join(directory, 'other.sock');
    const other: Server = createServer({ allowHalfOpen: true }, handler);
    await new Promise<void>((done) => other.listen(path, done));
    try {
      return await run(command(), { ...add, PORTOLAN_CNI_SOCKET: path }, config());
    } finally {
      await new Promise((done) => other.close(done));
    }
  }
  test('says so when the agent breaks off', async () => {
    const outcome = await against((peer) => peer.resume().once('end', () => peer.destroy()));
    expect(outcome.exitCode).toBe(1);
    expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 11 });
  });
  test('refuses an answer that is not in the protocol, and one without end', async () => {
    for (const answer of ['hello', '12345\nx', '', `0\n${'x'.repeat(1_100_000)}`]) {
      const outcome = await against((peer) => {
        peer.on('error', () => undefined);
        peer.resume().once('end', () => peer.end(answer));
      });
      expect(outcome.exitCode).toBe(1);
      expect([5, 11]).toContain((JSON.parse(outcome.stdout) as { code: number }).code);
    }
  });
  test('refuses a configuration above 1 MiB and a socket path that is too long', async () => {
    const large = await run(command(), add, 'x'.repeat(1_100_000));
    expect(JSON.parse(large.stdout)).toMatchObject({ code: 5 });
    const long = await run(command(), { ...add, PORTOLAN_CNI_SOCKET: `/${'x'.repeat(200)}` }, config());
    expect(JSON.parse(long.stdout)).toMatchObject({ code: 4 });
  });
});

describe('the server', () => {
  test('refuses a request above 1 MiB', async () => {
    const { connect } = await import('node:net');
    const answer = await new Promise<string>((done) => {
      const client = connect(socket);
      let text = '';
      client.on('error', () => undefined);
      client.on('data', (data: Buffer) => (text += data.toString()));
      client.on('close', () => done(text));
      client.end('x'.repeat(1_200_000));
    });
    expect(answer).toMatch(/^1\n.*larger than 1 MiB/);
  });
});
