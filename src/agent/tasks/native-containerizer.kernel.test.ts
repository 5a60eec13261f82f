import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestContainers, remainsIn } from '../../../test/support/native-containers.ts';
import { launchOf } from '../../model/task-fake.ts';
import { realClock } from '../../base/clock.ts';
import { realRandom } from '../../base/random.ts';
import { removeCgroupParent } from '../../runtime/cgroup.ts';
import { mustRun } from '../../runtime/command.ts';
import { readLog } from '../../runtime/container-log.ts';
import { containerizerContract } from '../../runtime/containerizer-contract.ts';
import { ImageStore } from '../../runtime/images.ts';
import type { Containers } from '../container-types.ts';
import { GpuShares } from './gpu-shares.ts';
import { NativeContainerizer } from './native-containerizer.ts';
import { PersistentVolumes } from './persistent-volumes.ts';

let directory = '';
let containers: Containers | undefined;
let containerizer: NativeContainerizer | undefined;

/** Gives addresses of which the last part is the container's interface number, and notes the ports. */
const plugin = `#!/bin/sh
here=$(dirname "$0")
input=$(cat)
echo "$CNI_COMMAND $CNI_IFNAME $input" >> "$here/calls"
echo "{\\"cniVersion\\":\\"1.0.0\\",\\"ips\\":[{\\"address\\":\\"9.0.1.1\${CNI_IFNAME#eth}/25\\"}]}"
`;

async function open(): Promise<NativeContainerizer> {
  await containers?.close();
  containers = await openTestContainers(directory, { overlays: () => ['net'] });
  const images = new ImageStore({ clock: realClock }, { root: join(directory, 'state', 'images') });
  await images.open();
  const volumes = new PersistentVolumes({ root: join(directory, 'volumes') });
  containerizer = new NativeContainerizer({
    containers,
    images,
    volumes,
    gpus: new GpuShares({ directory: join(directory, 'dev') }),
  });
  return containerizer;
}

function current(): NativeContainerizer {
  if (containerizer === undefined) throw new Error('no containerizer is open');
  return containerizer;
}

const remains = (): Promise<readonly string[]> => remainsIn(directory);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'plb-native-'));
  await mkdir(join(directory, 'cni'));
  await writeFile(join(directory, 'portolan-cni'), plugin, { mode: 0o755 });
  for (const name of ['net', 'other', 'mesos-bridge']) {
    const plugins = [{ type: 'portolan-cni', capabilities: { portMappings: true } }];
    const list = { cniVersion: '1.0.0', name, plugins };
    await writeFile(join(directory, 'cni', `${name}.conflist`), JSON.stringify(list));
  }
  await open();
});

afterAll(async () => {
  await containers?.close();
  await removeCgroupParent();
  await rm(directory, { recursive: true, force: true });
});

containerizerContract('MESOS', () => ({
  containerizer: current(),
  base: { runtime: 'mesos' },
  noImage: 'oci:/nosuch/layout',
  again: open,
  remains,
}));

/** An OCI layout with one image: a static busybox, an entry point, an environment, a user. */
async function makeLayout(): Promise<string> {
  const layout = join(directory, 'layout');
  const busybox = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
  const script = `
    set -e
    umoci init --layout ${layout}
    umoci new --image ${layout}:web
    umoci unpack --image ${layout}:web ${directory}/bundle
    mkdir -p ${directory}/bundle/rootfs/bin ${directory}/bundle/rootfs/etc ${directory}/bundle/rootfs/srv
    cp ${busybox} ${directory}/bundle/rootfs/bin/busybox
    for each in sh cat echo sleep id; do ln -s busybox ${directory}/bundle/rootfs/bin/$each; done
    echo 'web:x:77:78::/srv:/bin/sh' > ${directory}/bundle/rootfs/etc/passwd
    umoci repack --image ${layout}:web ${directory}/bundle
    umoci config --image ${layout}:web --config.entrypoint /bin/echo --config.entrypoint entry \\
      --config.cmd command --config.env IMAGE=yes --config.workingdir /srv --config.user web
    rm -rf ${directory}/bundle`;
  await mustRun(['sh', '-c', script], { timeoutMs: 60_000 });
  return layout;
}

describe('GPUs', () => {
  const dev = (): string => join(directory, 'dev');
  const gpus = { cpus: 0.1, mem_mib: 32, disk_mib: 0, gpus: 1 };
  const started: string[] = [];
  const start = async (shell: string): Promise<string> => {
    const id = Buffer.from(realRandom.bytes(16)).toString('hex');
    const launch = launchOf(`task.${id}`, { networks: [{ mode: 'host' }], resources: gpus, shell });
    const sandbox = await mkdtemp(join(directory, 'sandbox-'));
    const options = { signal: new AbortController().signal, starting: () => undefined };
    await current().launch({ id, launch, sandbox }, options);
    started.push(id);
    return id;
  };
  const said = async (id: string): Promise<string> =>
    (await readLog(await current().logPath(id), 0)).entries.map(({ text }) => text).join('');

  afterAll(async () => {
    for (const id of started) await current().remove(id);
    await rm(dev(), { recursive: true, force: true });
  });

  it('are given to one task each, also by the next agent, and are free when it has ended', async () => {
    await mkdir(dev());
    // Devices that are everywhere stand for them: null, zero and full.
    for (const [name, minor] of [
      ['nvidia0', '3'],
      ['nvidia1', '5'],
      ['nvidiactl', '7'],
    ] as const)
      execFileSync('mknod', [join(dev(), name), 'c', '1', minor]);
    const shell =
      'ls /dev | grep nvidia | tr "\\n" " "; echo into > /dev/nvidia*[0-9] && echo; exec sleep 1000';
    const first = await start(shell);
    const second = await start(shell);
    await expect.poll(() => said(first), { timeout: 30_000 }).toBe('nvidia0 nvidiactl \n');
    await expect.poll(() => said(second), { timeout: 30_000 }).toBe('nvidia1 nvidiactl \n');
    await open();
    await expect(start(shell)).rejects.toThrow('Cannot give the task 1 GPUs: 0 are free');
    await current().remove(first);
    const third = await start(shell);
    await expect.poll(() => said(third), { timeout: 30_000 }).toBe('nvidia0 nvidiactl \n');
  });
});

describe('images of native containers', () => {
  const say = async (change: Readonly<Record<string, unknown>>): Promise<string> => {
    const id = Buffer.from(realRandom.bytes(16)).toString('hex');
    const sandbox = await mkdtemp(join(directory, 'sandbox-'));
    const signal = new AbortController().signal;
    await current().launch(
      { id, launch: launchOf(`task.${id}`, { networks: [{ mode: 'host' }], ...change }), sandbox },
      { signal, starting: () => undefined },
    );
    await expect.poll(async () => (await current().find(id))?.state, { timeout: 30_000 }).toBe('ended');
    const { entries } = await readLog(await current().logPath(id), 0);
    await current().remove(id);
    return entries.map(({ text }) => text).join('');
  };

  it('come from an OCI layout or an archive, with entry point, environment, directory and user', async () => {
    const layout = await makeLayout();
    const image = { name: `oci:${layout}:web`, force_pull: false };
    expect(await say({ image, shell: undefined })).toBe('entry command\n');
    expect(await say({ image, shell: undefined, argv: ['other'] })).toBe('entry other\n');
    expect(await say({ image, shell: 'echo $IMAGE $PWD $HOME; id -u' })).toBe('yes /srv /srv\n77\n');
    const archive = join(directory, 'web.tar');
    await mustRun(['skopeo', 'copy', `oci:${layout}:web`, `docker-archive:${archive}:web:1`], {
      timeoutMs: 60_000,
    });
    await rm(layout, { recursive: true });
    // Unpacked before, so its layout is not asked for again.
    expect(await say({ image, shell: 'echo again' })).toBe('again\n');
    const archived = { name: `docker-archive:${archive}`, force_pull: false };
    expect(await say({ image: archived, shell: undefined })).toBe('entry command\n');
    expect(await remains()).toEqual([]);
  });
});

describe('networks of native containers', () => {
  it('are several, each with an interface of its own; a host port leads to the one that its mapping names', async () => {
    const id = Buffer.from(realRandom.bytes(16)).toString('hex');
    const sandbox = await mkdtemp(join(directory, 'sandbox-'));
    const launch = launchOf('task.nets', {
      networks: [
        { mode: 'container', name: 'net' },
        { mode: 'container', name: 'other' },
      ],
      ports: [{ protocol: 'tcp', container_port: 80, host_port: 31_000, networks: ['other'] }],
    });
    const options = { signal: new AbortController().signal, starting: () => undefined };
    const container = await current().launch({ id, launch, sandbox }, options);
    expect(container.networks).toEqual([
      { mode: 'container', name: 'net', addresses: ['9.0.1.10'] },
      { mode: 'container', name: 'other', addresses: ['9.0.1.11'] },
    ]);
    await current().remove(id);
    const calls = (await readFile(join(directory, 'calls'), 'utf8')).trim().split('\n').slice(-4);
    expect(calls.map((call) => call.split(' ').slice(0, 2).join(' '))).toEqual([
      'ADD eth0',
      'ADD eth1',
      'DEL eth1',
      'DEL eth0',
    ]);
    expect(calls.map((call) => call.includes('"hostPort":31000'))).toEqual([false, true, true, false]);
    expect(await remains()).toEqual([]);
  });

  it('may be the local bridge, or the host’s own under the host’s name', async () => {
    const bridged = launchOf('task.bridge', { networks: [{ mode: 'bridge' }] });
    const hosted = launchOf('task.host', { networks: [{ mode: 'host' }], shell: 'hostname' });
    const options = { signal: new AbortController().signal, starting: () => undefined };
    const sandbox = await mkdtemp(join(directory, 'sandbox-'));
    const first = await current().launch({ id: 'b0b0', launch: bridged, sandbox }, options);
    expect(first.networks).toEqual([{ mode: 'bridge', name: 'mesos-bridge', addresses: ['9.0.1.10'] }]);
    expect(first.netns).toBe(join(directory, 'run', 'netns', 'b0b0'));
    const second = await current().launch({ id: 'c0c0', launch: hosted, sandbox }, options);
    expect(second.networks).toEqual([{ mode: 'host', addresses: [] }]);
    await expect.poll(async () => (await current().find('c0c0'))?.state, { timeout: 30_000 }).toBe('ended');
    const name = execFileSync('hostname', { encoding: 'utf8' });
    expect((await readLog(await current().logPath('c0c0'), 0)).entries).toEqual([
      { stream: 'stdout', text: name },
    ]);
    for (const id of ['b0b0', 'c0c0']) await current().remove(id);
  });
});

/** As the kernel has it for a process, by cgroup v1 or v2. */
async function limitsOf(pid: number): Promise<{ readonly quota: string; readonly memory: string }> {
  const groups = (await readFile(`/proc/${pid}/cgroup`, 'utf8')).trim().split('\n');
  const read = async (controller: string, one: string, two: string): Promise<string> => {
    const line = groups.find((each) => each.split(':')[1]?.split(',').includes(controller) === true);
    const path =
      line === undefined
        ? `/sys/fs/cgroup${groups[0]?.split(':')[2] ?? ''}/${two}`
        : `/sys/fs/cgroup/${controller}${line.split(':')[2] ?? ''}/${one}`;
    return (await readFile(path, 'utf8')).trim().split(' ')[0] ?? '';
  };
  return {
    quota: await read('cpu', 'cpu.cfs_quota_us', 'cpu.max'),
    memory: await read('memory', 'memory.limit_in_bytes', 'memory.max'),
  };
}

it('a native container may use the cpus and the memory of its task, as the kernel has it', async () => {
  const sandbox = await mkdtemp(join(directory, 'sandbox-'));
  const launch = launchOf('task.limits', {
    networks: [{ mode: 'host' }],
    resources: { cpus: 0.5, mem_mib: 48, disk_mib: 0, gpus: 0 },
  });
  const options = { signal: new AbortController().signal, starting: () => undefined };
  await current().launch({ id: 'd0d0', launch, sandbox }, options);
  const pid = (await containers?.find('d0d0'))?.record.process?.pid ?? 0;
  expect(await limitsOf(pid)).toEqual({ quota: '50000', memory: String(48 * 1024 * 1024) });
  await current().remove('d0d0');
});
