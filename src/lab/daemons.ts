/** The daemons of lab hosts: their configuration, their start and end, and when they are ready. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { PortolanError } from '../base/errors.ts';
import { packageRoot } from '../base/package-root.ts';
import { mustRun } from '../runtime/command.ts';
import { isRunning, processIdentity } from '../runtime/process.ts';
import { enterHost } from './host.ts';
import type { HostPaths, LabPaths } from './paths.ts';
import { DNS_ADDRESSES, renderResolvConf } from '../model/dns.ts';
import { masterApis, type HostPlan } from './plan.ts';
import type { LabProcess, LabState } from './state.ts';

export type DaemonKind = 'master' | 'agent';

const WRITE_TIMEOUT_MS = 10_000;

/** The daemons that a host of this role runs. */
export function daemonsOf(role: HostPlan['role']): readonly DaemonKind[] {
  return role === 'master' ? ['master', 'agent'] : ['agent'];
}

export function mainProgram(): string {
  const path = join(packageRoot, 'dist', 'main.js');
  if (existsSync(path)) return path;
  throw new PortolanError('unavailable', `Cannot start daemons: "${path}" is not built`, {
    remedy: 'run "sh scripts/setup.sh"',
  });
}

/** File contents by path, as an operator would write them. */
export function renderConfigs(host: HostPlan, hosts: readonly HostPlan[]): Map<string, string> {
  const files = new Map<string, string>();
  files.set('/etc/resolv.conf', renderResolvConf(DNS_ADDRESSES.filter((address) => !address.includes(':'))));
  if (host.role === 'master')
    files.set(
      '/etc/portolan/master.yaml',
      JSON.stringify({ address: host.address, masters: masterApis(hosts) }),
    );
  return files;
}

/** `join`: what the agent may join the cluster with, `TOKEN@HOST:PORT` each. */
export function renderAgentConfig(
  host: HostPlan,
  hosts: readonly HostPlan[],
  options: { readonly docker: boolean; readonly join: readonly string[] },
): string {
  const onMaster = {
    network_config: { mesos_bridge: false, docker_bridge: false },
    tasks: false,
  };
  return JSON.stringify({
    masters: masterApis(hosts),
    join: options.join,
    address: host.address,
    docker: { enabled: options.docker && host.role === 'agent' },
    ...(host.role === 'master' ? onMaster : {}),
  });
}

/** Writes through the host's own mounts: changing an overlay's upper directory from outside is undefined. */
export async function writeFiles(
  host: HostPaths,
  files: ReadonlyMap<string, string>,
  options: { readonly secret?: boolean } = {},
): Promise<void> {
  const lines = [...files.keys()].map((path, i) => `printf '%s\\n' "$${i + 1}" >'${path}'`);
  const script = [...(options.secret === true ? ['umask 077'] : []), ...lines].join('\n');
  await mustRun([...enterHost(host), 'sh', '-ec', script, 'write', ...files.values()], {
    timeoutMs: WRITE_TIMEOUT_MS,
  });
}

/**
 * Starts a daemon that outlives this process, as systemd would: by `bin/portolan`, which knows what Node is to be told.
 * nsenter and the script exec in place, so the child is the daemon.
 */
export async function startDaemon(host: HostPaths, kind: DaemonKind): Promise<LabProcess> {
  mainProgram();
  const program = join(packageRoot, 'bin', 'portolan');
  const argv = [...enterHost(host), program, kind, '--config', `/etc/portolan/${kind}.yaml`];
  return { host: host.name, kind, ...(await startDetached(argv, join(host.log, `${kind}.log`))) };
}

/** The API on 127.0.0.1 of the root network namespace; a process of the lab by its UTS namespace. */
export async function startProxy(lab: LabPaths, master: HostPaths, port: number): Promise<LabProcess> {
  const proxy = join(packageRoot, 'dist', 'lab', 'proxy.js');
  const argv = [
    'nsenter',
    `--uts=${master.utsns}`,
    '--',
    process.execPath,
    proxy,
    String(port),
    lab.apiSocket,
  ];
  return { kind: 'proxy', ...(await startDetached(argv, lab.proxyLog)) };
}

async function startDetached(
  argv: readonly string[],
  logFile: string,
): Promise<{ pid: number; startTime: number }> {
  const log = await open(logFile, 'a');
  try {
    const [program = '', ...args] = argv;
    const child = spawn(program, args, { detached: true, stdio: ['ignore', log.fd, log.fd], cwd: '/' });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    const identity = child.pid === undefined ? undefined : processIdentity(child.pid);
    if (identity === undefined)
      throw new PortolanError('internal', `Cannot start "${argv.at(-1) ?? ''}": it ended at once`, {
        remedy: `see ${logFile}`,
      });
    return identity;
  } finally {
    await log.close();
  }
}

/** The recorded process, if it still runs. */
export function runningDaemon(
  state: LabState,
  host: string | undefined,
  kind: LabProcess['kind'],
): LabProcess | undefined {
  return state.processes.find((each) => each.host === host && each.kind === kind && isRunning(each));
}
