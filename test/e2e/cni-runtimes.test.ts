/**
 * A runtime that we did not write: podman with its CNI backend runs containers on an overlay, on a network of the
 * reference plug-ins beside it, and on a chain of ours and theirs.
 *
 * Everything happens in a network namespace of the test's own, and podman's whole state in a temporary directory.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { installPlugin, syncConflists } from '../../src/agent/cni-config.ts';
import { serveCni, type CniServer } from '../../src/agent/cni-server.ts';
import type { Attachments } from '../../src/agent/attachments.ts';
import { realClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { openJournal } from '../../src/store/journal.ts';
import type { Journal } from '../../src/store/types.ts';
import { CniBed, leftNamespaces } from '../support/cni-bed.ts';

const NAMES = 'pcn-rt';
const root = resolve(import.meta.dirname, '../..');
const referencePlugins = '/usr/lib/cni';

let bed: CniBed;
let directory: string;
let journal: Journal;
let service: Attachments;
let server: CniServer;

const at = (...names: string[]): string => join(directory, ...names);

beforeAll(async () => {
  bed = await CniBed.open(NAMES);
  directory = await mkdtemp(join(tmpdir(), 'pcn-runtimes-'));
  await makeRootFilesystem();
  await writeConfiguration();
  journal = await openJournal({ log: silentLog }, { path: at('journal'), what: 'the attachments' });
  service = bed.service(journal);
  server = await serveCni(
    { verbs: service, clock: realClock, log: silentLog, metrics: createMetrics() },
    at('cni.sock'),
  );
});

afterAll(async () => {
  await podman('rm', '--force', '--all', '--time=0');
  const left = await bed.leftovers();
  await server.close();
  await journal.close();
  await bed.close();
  await rm(directory, { recursive: true, force: true });
  expect(left).toEqual({ links: [], elements: [] });
  expect(leftNamespaces(NAMES)).toEqual([]);
});

async function makeRootFilesystem(): Promise<void> {
  for (const name of ['bin', 'proc', 'dev', 'sys', 'etc', 'tmp', 'run', 'www'])
    await mkdir(at('rootfs', name), { recursive: true });
  await copyFile('/bin/busybox', at('rootfs/bin/busybox'));
  await chmod(at('rootfs/bin/busybox'), 0o755);
  await symlink('busybox', at('rootfs/bin/sh'));
  await writeFile(at('rootfs/www/index.html'), 'hello\n');
}

async function writeConfiguration(): Promise<void> {
  const native = join(root, 'dist/portolan-cni');
  await installPlugin(existsSync(native) ? native : join(root, 'src/cni/portolan-cni.sh'), at('real'));
  // Clean-up after a container is podman's own child, which keeps few variables: the socket is named here.
  const wrapper = `#!/bin/sh\nPORTOLAN_CNI_SOCKET=${at('cni.sock')} exec ${at('real/portolan-cni')}\n`;
  await mkdir(at('plugins'));
  await writeFile(at('plugins/portolan-cni'), wrapper, { mode: 0o755 });
  await mkdir(at('net.d'));
  await syncConflists({ log: silentLog }, { directory: at('net.d'), overlays: ['dcos'] });
  const portmap = { type: 'portmap', capabilities: { portMappings: true } };
  await writeList('plain', [
    {
      type: 'bridge',
      bridge: 'pcn-plain',
      isGateway: true,
      ipMasq: true,
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: '10.88.77.0/24' }]],
        routes: [{ dst: '0.0.0.0/0' }],
        dataDir: at('host-local'),
      },
    },
    portmap,
  ]);
  // Ours first, then theirs: the mapping is theirs to make here.
  await writeList('dual', [
    { type: 'portolan-cni', capabilities: { ips: true } },
    portmap,
    { type: 'tuning', sysctl: { 'net.ipv4.ip_default_ttl': '77' } },
  ]);
  await writeFile(at('containers.conf'), containersConf());
}

async function writeList(name: string, plugins: readonly unknown[]): Promise<void> {
  const list = { cniVersion: '0.4.0', name, plugins };
  await writeFile(at('net.d', `${name}.conflist`), JSON.stringify(list));
}

function containersConf(): string {
  return `[network]
network_backend = "cni"
network_config_dir = "${at('net.d')}"
cni_plugin_dirs = ["${at('plugins')}", "${referencePlugins}"]
default_network = "plain"
[engine]
runtime = "runc"
lock_type = "file"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "${at('tmp')}"
static_dir = "${at('static')}"
no_pivot_root = true
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
`;
}

const execute = promisify(execFile);

async function podman(...args: string[]): Promise<string> {
  const global = ['--root', at('root'), '--runroot', at('runroot'), '--storage-driver', 'vfs'];
  const { stdout } = await execute('podman', [...global, ...args], {
    env: { ...process.env, CONTAINERS_CONF: at('containers.conf') },
  });
  return stdout.trim();
}

async function web(name: string, network: string, ...options: string[]): Promise<string> {
  await podman(
    'run',
    '-d',
    '--name',
    name,
    '--network',
    network,
    ...options,
    '--rootfs',
    at('rootfs'),
    ...httpd,
  );
  const format = `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`;
  return podman('inspect', name, '--format', format);
}
const httpd = ['/bin/busybox', 'httpd', '-f', '-p', '80', '-h', '/www'];

/** From this thread, which is in the host's namespace of the test. */
const fetchFrom = (url: string): Promise<string> =>
  new Promise((done, failed) => {
    const asked = get(url, { agent: false, timeout: 2000 }, (response) => {
      let text = '';
      response.on('data', (data: Buffer) => (text += data.toString()));
      response.once('end', () => done(text));
    });
    asked.once('timeout', () => asked.destroy(new Error('no answer')));
    asked.once('error', failed);
  });
const answers = (url: string): Promise<void> =>
  vi.waitFor(async () => expect(await fetchFrom(url)).toBe('hello\n'), { timeout: 10_000, interval: 100 });

describe('podman with its CNI backend', () => {
  test('runs a container on an overlay, reachable by its address and by a host port, and removes it', async () => {
    const address = await web('pcn-web', 'dcos', '--publish', '31888:80');
    expect(address).toMatch(/^9\.0\.1\.\d+$/);
    await answers(`http://${address}/`);
    await answers('http://127.0.0.1:31888/');
    expect(service.list()).toEqual([expect.objectContaining({ network: 'dcos', name: 'pcn-web' })]);
    const ping = await podman('exec', 'pcn-web', '/bin/busybox', 'ping', '-c1', '-W2', '9.0.1.1');
    expect(ping).toContain('1 packets received');
    await podman('rm', '--force', '--time=0', 'pcn-web');
    expect(service.list()).toEqual([]);
    expect(await bed.leftovers()).toEqual({ links: [], elements: [] });
  });

  test('is told by us why a container cannot start', async () => {
    await web('pcn-first', 'dcos', '--publish', '31888:80');
    await expect(web('pcn-second', 'dcos', '--publish', '31888:80')).rejects.toThrow(
      /Cannot map host port 31888\/tcp: container ".*\/eth0" holds it/,
    );
    await podman('rm', '--force', '--time=0', 'pcn-first', 'pcn-second');
    expect(service.list()).toEqual([]);
  });

  test('honours a fixed address and MAC', async () => {
    const address = await web('pcn-fixed', 'dcos', '--ip', '9.0.1.99', '--mac-address', '0a:00:00:00:00:99');
    expect(address).toBe('9.0.1.99');
    const shown = await podman('exec', 'pcn-fixed', '/bin/busybox', 'ip', 'link', 'show', 'eth0');
    expect(shown).toContain('0a:00:00:00:00:99');
    await podman('rm', '--force', '--time=0', 'pcn-fixed');
  });

  test('runs containers on overlays and on the reference plug-ins side by side', async () => {
    const ours = await web('pcn-ours', 'dcos', '--publish', '31888:80');
    const theirs = await web('pcn-theirs', 'plain', '--publish', '31889:80');
    for (const url of [`http://${ours}/`, `http://${theirs}/`]) await answers(url);
    for (const port of [31_888, 31_889]) await answers(`http://127.0.0.1:${port}/`);
    await podman('rm', '--force', '--time=0', 'pcn-theirs');
    await answers('http://127.0.0.1:31888/');
    await podman('rm', '--force', '--time=0', 'pcn-ours');
    expect(await readdir(at('host-local/plain'))).not.toContain(theirs);
  });

  test('runs a chain of ours, the reference portmap and tuning', async () => {
    const address = await web('pcn-chain', 'dual', '--publish', '31890:80');
    await answers(`http://${address}/`);
    await answers('http://127.0.0.1:31890/');
    const ttl = await podman('exec', 'pcn-chain', '/bin/busybox', 'cat', '/proc/sys/net/ipv4/ip_default_ttl');
    expect(ttl).toBe('77');
    await podman('rm', '--force', '--time=0', 'pcn-chain');
    expect(service.list()).toEqual([]);
  });
});
