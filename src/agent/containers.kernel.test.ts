import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openTestContainers, remainsIn } from '../../test/support/native-containers.ts';
import { sleep } from '../base/clock.ts';
import { containerRequest, type ContainerInfo } from '../model/container.ts';
import { removeCgroupParent } from '../runtime/cgroup.ts';
import { createNetns, mountRootfs, rootfsPaths } from '../runtime/rootfs.ts';
import { writeRecord } from './container-record.ts';
import type { Containers } from './container-types.ts';

let directory = '';
const opened: Containers[] = [];
/** Containers whose attachment the host has forgotten. */
const forgotten = new Set<string>();

/** Answers like a plug-in with what is in `address`, notes its calls, and fails while there is `fail-<COMMAND>`. */
const plugin = `#!/bin/sh
here=$(dirname "$0")
echo "$CNI_COMMAND $CNI_CONTAINERID" >> "$here/calls"
cat > /dev/null
if [ -e "$here/fail-$CNI_COMMAND" ]; then
  echo '{"code":11,"msg":"told to fail"}'
  exit 1
fi
echo "{\\"cniVersion\\":\\"1.0.0\\",\\"ips\\":[{\\"address\\":\\"$(cat "$here/address")\\"}]}"
`;

const open = async (): Promise<Containers> => {
  const containers = await openTestContainers(directory, {
    logMaxBytes: 10_000,
    dnsServers: () => ['198.51.100.1'],
    overlays: () => ['gone', 'net', 'a-net'],
    attached: ({ container }) => !forgotten.delete(container),
  });
  opened.push(containers);
  return containers;
};

const run = (containers: Containers, script: string, name?: string): Promise<ContainerInfo> =>
  containers.run(
    containerRequest.parse({
      argv: ['busybox', 'sh', '-c', script],
      ...(name === undefined ? {} : { name }),
    }),
  );

async function eventually(containers: Containers, name: string, state: string): Promise<ContainerInfo> {
  for (let i = 0; i < 500; i++) {
    const info = await containers.inspect(name);
    if (info.state === state) return info;
    await sleep(20);
  }
  throw new Error(`container "${name}" does not become ${state}`);
}

const calls = async (): Promise<readonly string[]> =>
  (await readFile(join(directory, 'calls'), 'utf8').catch(() => '')).trim().split('\n');

const remains = (): Promise<readonly string[]> => remainsIn(directory);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'plb-containers-'));
  await mkdir(join(directory, 'cni'));
  await writeFile(join(directory, 'address'), '9.0.1.2/25');
  await writeFile(join(directory, 'portolan-cni'), plugin, { mode: 0o755 });
  const others = { cniVersion: '1.0.0', name: 'another', plugins: [{ type: 'bridge' }] };
  await writeFile(join(directory, 'cni', '00-another.conflist'), JSON.stringify(others));
  for (const name of ['net', 'a-net']) {
    const list = { cniVersion: '1.0.0', name, plugins: [{ type: 'portolan-cni' }] };
    await writeFile(join(directory, 'cni', `${name}.conflist`), JSON.stringify(list));
  }
});

afterEach(async () => {
  await rm(join(directory, 'fail-DEL'), { force: true });
  for (const containers of opened.splice(0)) {
    for (const each of await containers.list())
      await containers.remove(each.id, { force: true }).catch(() => undefined);
    await containers.close();
  }
  await removeCgroupParent();
  await rm(directory, { recursive: true, force: true });
});

describe('native containers', () => {
  it('run on a copy of the root that hides what is not theirs, with a name and addresses', async () => {
    const containers = await open();
    const info = await run(containers, 'echo mine > /etc/plb-mark; exec busybox sleep 1000', 'web');
    expect(info).toMatchObject({ name: 'web', network: 'net', state: 'running', addresses: ['9.0.1.2/25'] });
    const exec = (...words: string[]): string =>
      execFileSync('runc', ['--root', containers.runcRoot, 'exec', info.id, ...words], { encoding: 'utf8' });
    expect(exec('cat', '/etc/hostname', '/etc/plb-mark')).toBe('web\nmine\n');
    expect(exec('cat', '/etc/hosts')).toContain('9.0.1.2\tweb');
    expect(exec('ls', '/run', '/tmp')).toBe('/run:\n\n/tmp:\n');
    expect(exec('cat', '/sys/class/net/lo/operstate')).not.toBe('');
    expect(existsSync('/etc/plb-mark')).toBe(false);
  });

  it('leave a log and an exit code when they end, give their addresses back and go with rm', async () => {
    const containers = await open();
    await run(containers, 'echo out; echo err >&2; exit 3', 'short');
    const info = await eventually(containers, 'short', 'exited');
    expect(info.exitCode).toBe(3);
    expect((await containers.logs('short', 0)).entries).toEqual([
      { stream: 'stdout', text: 'out\n' },
      { stream: 'stderr', text: 'err\n' },
    ]);
    for (let i = 0; i < 500 && !(await calls()).includes(`DEL ${info.id}`); i++) await sleep(20);
    expect(await calls()).toEqual([`ADD ${info.id}`, `DEL ${info.id}`]);
    await containers.remove('short', { force: false });
    expect(await containers.list()).toEqual([]);
    expect(await remains()).toEqual([]);
  });

  it('begin their log anew when it is long, and keep the one before', async () => {
    const containers = await open();
    const script = 'i=0; while [ $i -lt 300 ]; do echo "line $i, and then some more text"; i=$((i+1)); done';
    const { id } = await run(
      containers,
      `${script}; while ! [ -e /etc/more ]; do busybox sleep 0.1; done; echo after; exec busybox sleep 1000`,
      'web',
    );
    const own = join(directory, 'state', 'containers', id);
    await expect.poll(() => existsSync(join(own, 'log.1')), { timeout: 30_000 }).toBe(true);
    await writeFile(join(own, 'rootfs', 'etc', 'more'), '');
    expect(await readFile(join(own, 'log.1'), 'utf8')).toContain('line 0,');
    const said = async (): Promise<string> =>
      (await containers.logs('web', 1_000_000)).entries.map(({ text }) => text).join('');
    await expect.poll(said, { timeout: 30_000 }).toContain('after');
  });

  it('go by themselves when they have ended, where that was asked for', async () => {
    const containers = await open();
    const argv = ['busybox', 'true'];
    const { id } = await containers.run(containerRequest.parse({ argv, remove: true }));
    await expect.poll(() => containers.list()).toEqual([]);
    expect(await calls()).toEqual([`ADD ${id}`, `DEL ${id}`]);
    expect(await remains()).toEqual([]);
  });

  it('outlive the agent: the next one finds them running and can end them', async () => {
    const first = await open();
    const started = await run(first, 'exec busybox sleep 1000', 'web');
    await first.close();
    const second = await open();
    expect(await second.inspect('web')).toEqual(started);
    await expect(second.remove('web', { force: false })).rejects.toMatchObject({ code: 'conflict' });
    await second.remove('web', { force: true });
    expect(await remains()).toEqual([]);
  });

  it('are given other addresses when their host has forgotten the old ones, at once or when that works', async () => {
    const containers = await open();
    const { id } = await run(containers, 'exec busybox sleep 1000', 'web');
    const addresses = async (): Promise<readonly string[]> => (await containers.inspect('web')).addresses;
    await writeFile(join(directory, 'address'), '9.0.7.2/25');
    await writeFile(join(directory, 'fail-ADD'), '');
    forgotten.add(id);
    await expect.poll(addresses).toEqual([]);
    await rm(join(directory, 'fail-ADD'));
    await expect.poll(addresses).toEqual(['9.0.7.2/25']);
    const hosts = (): string =>
      execFileSync('runc', ['--root', containers.runcRoot, 'exec', id, 'cat', '/etc/hosts']).toString();
    await expect.poll(hosts).toContain('9.0.7.2\tweb');
    expect(hosts()).not.toContain('9.0.1.2');
  });

  it('are found by id, name or the beginning of an id, and by nothing else', async () => {
    const containers = await open();
    const { id } = await run(containers, 'exec busybox sleep 1000', 'web');
    expect((await containers.inspect(id.slice(0, 5))).name).toBe('web');
    await expect(containers.inspect('nobody')).rejects.toMatchObject({ code: 'not-found' });
    await expect(containers.inspect('')).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('a container that cannot be made', () => {
  it('leaves nothing when its program does not exist, and says so', async () => {
    const containers = await open();
    const request = containerRequest.parse({ argv: ['no-such-program'] });
    await expect(containers.run(request)).rejects.toThrowError(/no-such-program.*not found/);
    expect((await calls()).map((call) => call.split(' ')[0])).toEqual(['ADD', 'DEL']);
    expect(await remains()).toEqual([]);
  });

  it('starts although the parent of its groups is removed at that moment', async () => {
    const bin = join(directory, 'bin');
    await mkdir(bin);
    const real = execFileSync('sh', ['-c', 'PATH=$PATH:/usr/sbin:/sbin; command -v runc'], {
      encoding: 'utf8',
    });
    const group = 'mkdir /sys/fs/cgroup/cpuset/portolan/x: no such file or directory';
    const failure = `runc create failed: unable to start container process: unable to apply cgroup configuration: ${group}`;
    await writeFile(
      join(bin, 'runc'),
      `#!/bin/sh
case " $* " in *" create "*)
  if [ ! -e ${directory}/swept ]; then
    touch ${directory}/swept
    echo 'time="2026-11-21T00:00:00Z" level=error msg="${failure}"' >&2
    exit 1
  fi ;;
esac
exec ${real.trim()} "$@"
`,
      { mode: 0o755 },
    );
    const path = process.env['PATH'] ?? '';
    process.env['PATH'] = `${bin}:${path}`;
    try {
      const containers = await open();
      expect(await run(containers, 'exec busybox sleep 1000', 'web')).toMatchObject({ state: 'running' });
      expect(existsSync(join(directory, 'swept'))).toBe(true);
    } finally {
      process.env['PATH'] = path;
    }
  });

  it("leaves nothing when the plug-in refuses, and says the plug-in's reason", async () => {
    await writeFile(join(directory, 'fail-ADD'), '');
    const containers = await open();
    await expect(run(containers, 'true')).rejects.toThrowError(/told to fail/);
    expect(await containers.list()).toEqual([]);
    expect(await remains()).toEqual([]);
  });

  it('is refused when the name is taken or the network unknown', async () => {
    const containers = await open();
    await run(containers, 'exec busybox sleep 1000', 'web');
    await expect(run(containers, 'true', 'web')).rejects.toMatchObject({ code: 'conflict', field: 'name' });
    const elsewhere = containerRequest.parse({ argv: ['true'], network: 'other' });
    await expect(containers.run(elsewhere)).rejects.toMatchObject({ code: 'not-found', field: 'network' });
  });
});

describe('what a crash left', () => {
  /** The steps of making a container, each on top of the ones before. */
  const steps = ['directory', 'record', 'namespace', 'addresses', 'root'] as const;

  it.each(steps)('is removed by the next agent when the crash came after the %s', async (last) => {
    const id = 'c0ffee000001';
    const own = join(directory, 'state', 'containers', id);
    const upTo = (step: (typeof steps)[number]): boolean => steps.indexOf(step) <= steps.indexOf(last);
    const netns = join(directory, 'run', 'netns', id);
    await mkdir(own, { recursive: true });
    const place = {
      network: 'net',
      ifname: 'eth0',
      ports: [],
      addresses: [],
      conflist: { cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'portolan-cni' }] },
    };
    const user = { uid: 0, gid: 0, groups: [] };
    const record = {
      id,
      name: 'half',
      hostname: 'half',
      program: { argv: ['true'], env: {}, cwd: '/', lower: '/', user, mounts: [], tty: false },
      labels: {},
      remove: false,
      createdMs: 1,
      netns,
      boot: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
      interfaces: [place],
    };
    if (upTo('record')) await writeRecord(own, record);
    if (upTo('namespace')) await createNetns(netns);
    if (upTo('addresses'))
      await writeRecord(own, { ...record, interfaces: [{ ...place, result: { ips: [] } }] });
    if (upTo('root'))
      await mountRootfs(rootfsPaths(own), { hostname: 'half', addresses: [], nameservers: [] });
    const containers = await open();
    expect(await containers.list()).toEqual([]);
    expect(await remains()).toEqual([]);
    if (upTo('record')) expect(await calls()).toEqual([`DEL ${id}`]);
  });

  it('stays for rm when its host was rebooted under it', async () => {
    const first = await open();
    const { id } = await run(first, 'exec busybox sleep 1000', 'web');
    await first.close();
    const file = join(directory, 'state', 'containers', id, 'container.json');
    const record = JSON.parse(await readFile(file, 'utf8')) as { boot: string; process: { pid: number } };
    process.kill(record.process.pid, 'SIGKILL');
    await rm(join(directory, 'state', 'containers', id, 'exit'), { recursive: true, force: true });
    await writeFile(file, JSON.stringify({ ...record, boot: 'another boot' }));
    const second = await open();
    await eventually(second, 'web', 'lost');
    await second.remove('web', { force: false });
    expect(await remains()).toEqual([]);
  });

  it('is tried again until its addresses can be given back, when it was never made whole', async () => {
    await writeFile(join(directory, 'fail-DEL'), '');
    const containers = await open();
    const request = containerRequest.parse({ argv: ['no-such-program'], name: 'half' });
    await expect(containers.run(request)).rejects.toThrowError(/not found/);
    expect((await containers.inspect('half')).state).toBe('lost');
    await rm(join(directory, 'fail-DEL'));
    for (let i = 0; i < 500 && (await containers.list()).length > 0; i++) await sleep(20);
    expect(await remains()).toEqual([]);
  });

  it('is kept and tried again when its addresses cannot be given back', async () => {
    const containers = await open();
    await run(containers, 'exec busybox sleep 1000', 'web');
    await writeFile(join(directory, 'fail-DEL'), '');
    await expect(containers.remove('web', { force: true })).rejects.toThrowError(/told to fail/);
    expect((await containers.list()).map((each) => each.name)).toEqual(['web']);
    await rm(join(directory, 'fail-DEL'));
    await containers.remove('web', { force: true });
    expect(await remains()).toEqual([]);
  });
});
