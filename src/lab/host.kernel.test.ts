import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rootNetwork, tracesOf } from '../../test/support/machine.ts';
import { sleep } from '../base/clock.ts';
import { inHost, runInHost } from './access.ts';
import { ensureLabDirectory } from './directory.ts';
import { labDown } from './down.ts';
import { createHost, enterHost, hostExists } from './host.ts';
import { hostPaths, labPaths } from './paths.ts';
import { planHosts } from './plan.ts';
import { powerOff } from './power.ts';
import { namespaceInodes, processesIn } from './processes.ts';
import { writeLabState } from './state.ts';
import { applyPartition, connectHosts, ensureUnderlay } from './underlay.ts';

const hosts = planHosts({ hosts: 3, masters: 1, docker: false });
const options = { timeoutMs: 20_000 };
let lab = '';
let before = rootNetwork();

/** Hosts and underlay as `lab up` makes them, without daemons. */
async function bareLab(): Promise<void> {
  await ensureLabDirectory(labPaths(lab));
  await writeLabState({
    name: lab,
    docker: false,
    hosts: hosts.map((host) => ({ ...host, wanted: true })),
    processes: [],
    partition: [],
  });
  await ensureUnderlay(labPaths(lab));
  await Promise.all(hosts.map((host) => createHost(hostPaths(lab, host.name))));
  await connectHosts(labPaths(lab), hosts);
}

const sh = (host: string, script: string): Promise<string> =>
  inHost(lab, host, ['sh', '-ec', script], options);

async function reaches(from: string, to: string): Promise<boolean> {
  const ping = ['busybox', 'ping', '-c', '1', '-W', '1', to];
  return (await runInHost(lab, from, ping, options)).status === 0;
}

beforeEach(async () => {
  before = rootNetwork();
  lab = `plbk${randomBytes(3).toString('hex')}`;
  await bareLab();
});

afterEach(async () => {
  await labDown(lab, () => undefined).catch(() => undefined);
});

describe('a lab host', () => {
  it('has a name, an address and no route out', async () => {
    expect((await sh('agent2', 'hostname')).trim()).toBe('agent2');
    expect(await sh('agent2', 'ip -br address show eth0')).toContain('10.0.0.12/24');
    expect(await sh('agent2', 'ip route')).toMatch(/^10\.0\.0\.0\/24 dev eth0 [^\n]*\n$/);
    expect((await sh('agent2', 'ls /sys/class/net')).trim().split(/\s+/).sort()).toEqual(['eth0', 'lo']);
    expect(await sh('agent2', 'ls /sys/fs/cgroup')).not.toBe('');
  });

  it('reaches the other hosts', async () => {
    expect(await reaches('agent1', '10.0.0.1')).toBe(true);
    expect(await reaches('master1', '10.0.0.13')).toBe(true);
  });

  it('keeps what it writes from the machine and from the others', async () => {
    await sh('agent1', 'echo mine > /etc/plb-mark; echo mine > /opt/plb-mark; echo mine > /run/plb-mark');
    for (const path of ['/etc/plb-mark', '/opt/plb-mark', '/run/plb-mark']) {
      expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
      expect((await runInHost(lab, 'agent2', ['test', '-e', path], options)).status).toBe(1);
    }
  });

  it('loses /run and its boot id at power off and keeps its disk', async () => {
    const boot = await sh('agent1', 'cat /proc/sys/kernel/random/boot_id');
    expect(boot).not.toBe(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'));
    await sh('agent1', 'echo kept > /etc/kept; echo kept > /var/lib/portolan/kept; echo lost > /run/lost');
    await powerOff(lab, 'agent1');
    expect(await hostExists(hostPaths(lab, 'agent1'))).toBe(false);
    await createHost(hostPaths(lab, 'agent1'));
    await connectHosts(labPaths(lab), hosts);
    expect(await sh('agent1', 'cat /etc/kept /var/lib/portolan/kept')).toBe('kept\nkept\n');
    expect(await sh('agent1', 'ls /run')).not.toContain('lost');
    expect(await sh('agent1', 'cat /proc/sys/kernel/random/boot_id')).not.toBe(boot);
    expect(await reaches('agent2', '10.0.0.11')).toBe(true);
  });

  it('says no goodbye at power off', async () => {
    const listener = `
      require('net').createServer((socket) => {
        console.log('connected');
        socket.on('error', (error) => console.log(error.code)).on('close', () => console.log('closed')).resume();
      }).listen(7000, () => console.log('listening'));`;
    const talker = `require('net').connect(7000, '10.0.0.12'); setInterval(() => undefined, 1000);`;
    const start = (host: string, script: string): ChildProcess => {
      const [program, ...args] = [...enterHost(hostPaths(lab, host)), process.execPath, '-e', script];
      return spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    };
    const heard: string[] = [];
    const listening = start('agent2', listener);
    listening.stdout?.on('data', (chunk: Buffer) => heard.push(...chunk.toString().trim().split('\n')));
    await expect.poll(() => heard, { timeout: 20_000 }).toEqual(['listening']);
    const talking = start('agent1', talker);
    const ended = once(talking, 'close');
    await expect.poll(() => heard, { timeout: 20_000 }).toEqual(['listening', 'connected']);
    await powerOff(lab, 'agent1');
    await ended;
    await sleep(200);
    expect(heard).toEqual(['listening', 'connected']);
    listening.kill('SIGKILL');
  });

  it('takes its processes and their descendants along at power off', async () => {
    const paths = hostPaths(lab, 'agent1');
    // The grandchild leaves every namespace of the host, as a container's process does.
    const script = 'unshare --net --mount --uts --fork sleep 1000 & wait';
    const [program, ...args] = [...enterHost(paths), 'sh', '-c', script];
    const child = spawn(program, args, { stdio: 'ignore', detached: true });
    const inodes = await namespaceInodes([paths.netns, paths.mountns, paths.utsns]);
    for (let i = 0; i < 200 && processesIn(inodes).length < 3; i++) await sleep(10);
    const found = processesIn(inodes);
    expect(found.length).toBeGreaterThanOrEqual(3);
    await powerOff(lab, 'agent1');
    expect(found.filter(({ pid }) => isAlive(pid))).toEqual([]);
    expect(child.pid).toBeDefined();
  });

  it('is cut off with others and healed', async () => {
    await applyPartition(labPaths(lab), ['agent1', 'agent2']);
    expect(await reaches('agent1', '10.0.0.12')).toBe(true);
    expect(await reaches('agent1', '10.0.0.13')).toBe(false);
    expect(await reaches('master1', '10.0.0.12')).toBe(false);
    expect(await reaches('master1', '10.0.0.13')).toBe(true);
    await applyPartition(labPaths(lab), []);
    // The kernel asks for a neighbour that did not answer again only after a while.
    let healed = false;
    for (let i = 0; i < 20 && !healed; i++) healed = await reaches('agent1', '10.0.0.13');
    expect(healed).toBe(true);
  });
});

describe('lab down', () => {
  it('leaves nothing of a lab', async () => {
    await labDown(lab, () => undefined);
    expect(tracesOf(lab)).toEqual([]);
    expect(rootNetwork()).toEqual(before);
  });

  it('leaves nothing of a lab whose state file is lost and whose host is half made', async () => {
    await inHost(lab, 'agent1', ['rm', '-f', '/etc/resolv.conf'], options);
    await rm(labPaths(lab).state);
    await rm(hostPaths(lab, 'agent2').bootId, { force: true });
    await labDown(lab, () => undefined);
    expect(tracesOf(lab)).toEqual([]);
    expect(rootNetwork()).toEqual(before);
  });

  it('says which labs there are when there is none of that name', async () => {
    const said: string[] = [];
    await labDown('plb-none', (line) => said.push(line));
    expect(said).toEqual([
      expect.stringMatching(new RegExp(`lab "plb-none" is not there: labs are .*${lab}`)),
    ]);
  });
});

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
