/**
 * The options of `docker run` that an app may give as `parameters`, as members of the API's request to create a container.
 *
 * Pure. What is not known here is refused by name: an option that is silently ignored is worse than a task that fails.
 */
import { PortolanError } from '../base/errors.ts';

/** Members of `POST /containers/create`, as far as parameters set them. */
export interface DockerCreateParts {
  readonly config: Record<string, unknown>;
  readonly host: Record<string, unknown>;
}

type Apply = (parts: DockerCreateParts, value: string, key: string) => void;

const UNITS: Readonly<Record<string, number>> = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** `64m`, `1g`, `1000`. */
function bytes(value: string, key: string): number {
  const [, number = '', unit = 'b'] = /^([0-9]+)([bkmg])?b?$/i.exec(value) ?? [];
  if (number === '') throw malformed(key, value, 'give a size such as 64m');
  return Number(number) * (UNITS[unit.toLowerCase()] ?? 1);
}

function integer(value: string, key: string): number {
  if (!/^-?[0-9]+$/.test(value)) throw malformed(key, value, 'give a whole number');
  return Number(value);
}

function truth(value: string, key: string): boolean {
  if (value === '' || value === 'true') return true;
  if (value === 'false') return false;
  throw malformed(key, value, 'give true or false');
}

/** `name=value`; without a value it is empty. */
function pair(value: string, separator = '='): readonly [string, string] {
  const at = value.indexOf(separator);
  return at < 0 ? [value, ''] : [value.slice(0, at), value.slice(at + 1)];
}

const text =
  (where: 'config' | 'host', name: string): Apply =>
  (parts, value) => {
    parts[where][name] = value;
  };
const number =
  (where: 'config' | 'host', name: string): Apply =>
  (parts, value, key) => {
    parts[where][name] = integer(value, key);
  };
const size =
  (name: string): Apply =>
  (parts, value, key) => {
    parts.host[name] = bytes(value, key);
  };
const flag =
  (name: string): Apply =>
  (parts, value, key) => {
    parts.host[name] = truth(value, key);
  };
const list =
  (where: 'config' | 'host', name: string): Apply =>
  (parts, value) => {
    parts[where][name] = [...((parts[where][name] as string[] | undefined) ?? []), value];
  };
const map =
  (where: 'config' | 'host', name: string): Apply =>
  (parts, value) => {
    const [key, said] = pair(value);
    parts[where][name] = { ...(parts[where][name] as object | undefined), [key]: said };
  };

/** `PATH[:CONTAINER[:rwm]]` */
const device: Apply = (parts, value) => {
  const [host = '', container = host, permissions = 'rwm'] = value.split(':');
  const entry = { PathOnHost: host, PathInContainer: container, CgroupPermissions: permissions };
  parts.host['Devices'] = [...((parts.host['Devices'] as object[] | undefined) ?? []), entry];
};

/** `nofile=1024[:2048]` */
const ulimit: Apply = (parts, value, key) => {
  const [name, range] = pair(value);
  const [soft = '', hard = soft] = range.split(':');
  const entry = { Name: name, Soft: integer(soft, key), Hard: integer(hard, key) };
  parts.host['Ulimits'] = [...((parts.host['Ulimits'] as object[] | undefined) ?? []), entry];
};

/** `/path[:options]` */
const tmpfs: Apply = (parts, value) => {
  const [path, options] = pair(value, ':');
  parts.host['Tmpfs'] = { ...(parts.host['Tmpfs'] as object | undefined), [path]: options };
};

const logDriver: Apply = (parts, value) => {
  // Our own options are those of the driver that we asked for.
  parts.host['LogConfig'] = { Type: value, Config: {} };
};
const logOption: Apply = (parts, value) => {
  const [key, said] = pair(value);
  const known = parts.host['LogConfig'] as { Config?: object } | undefined;
  parts.host['LogConfig'] = { ...known, Config: { ...known?.Config, [key]: said } };
};

const cpus: Apply = (parts, value, key) => {
  if (!/^[0-9]+(\.[0-9]+)?$/.test(value)) throw malformed(key, value, 'give a number such as 1.5');
  parts.host['CpuPeriod'] = 100_000;
  parts.host['CpuQuota'] = Math.round(Number(value) * 100_000);
};

const known: Readonly<Record<string, Apply>> = {
  'add-host': list('host', 'ExtraHosts'),
  'blkio-weight': number('host', 'BlkioWeight'),
  'cap-add': list('host', 'CapAdd'),
  'cap-drop': list('host', 'CapDrop'),
  'cgroup-parent': text('host', 'CgroupParent'),
  'cpu-period': number('host', 'CpuPeriod'),
  'cpu-quota': number('host', 'CpuQuota'),
  'cpu-shares': number('host', 'CpuShares'),
  cpus,
  'cpuset-cpus': text('host', 'CpusetCpus'),
  'cpuset-mems': text('host', 'CpusetMems'),
  device,
  dns: list('host', 'Dns'),
  'dns-opt': list('host', 'DnsOptions'),
  'dns-option': list('host', 'DnsOptions'),
  'dns-search': list('host', 'DnsSearch'),
  domainname: text('config', 'Domainname'),
  entrypoint: (parts, value) => {
    parts.config['Entrypoint'] = value === '' ? [] : [value];
  },
  env: list('config', 'Env'),
  'group-add': list('host', 'GroupAdd'),
  hostname: text('config', 'Hostname'),
  init: flag('Init'),
  ipc: text('host', 'IpcMode'),
  label: map('config', 'Labels'),
  'log-driver': logDriver,
  'log-opt': logOption,
  'mac-address': text('config', 'MacAddress'),
  memory: size('Memory'),
  'memory-reservation': size('MemoryReservation'),
  'memory-swap': (parts, value, key) => {
    parts.host['MemorySwap'] = value === '-1' ? -1 : bytes(value, key);
  },
  'memory-swappiness': number('host', 'MemorySwappiness'),
  'oom-kill-disable': flag('OomKillDisable'),
  'oom-score-adj': number('host', 'OomScoreAdj'),
  pid: text('host', 'PidMode'),
  'pids-limit': number('host', 'PidsLimit'),
  privileged: flag('Privileged'),
  'read-only': flag('ReadonlyRootfs'),
  runtime: text('host', 'Runtime'),
  'security-opt': list('host', 'SecurityOpt'),
  'shm-size': size('ShmSize'),
  'stop-signal': text('config', 'StopSignal'),
  sysctl: map('host', 'Sysctls'),
  tmpfs,
  ulimit,
  user: text('config', 'User'),
  userns: text('host', 'UsernsMode'),
  uts: text('host', 'UTSMode'),
  volume: list('host', 'Binds'),
  'volume-driver': text('host', 'VolumeDriver'),
  'volumes-from': list('host', 'VolumesFrom'),
  workdir: text('config', 'WorkingDir'),
};
/** Short forms of docker run(1). */
const short: Readonly<Record<string, string>> = {
  c: 'cpu-shares',
  e: 'env',
  h: 'hostname',
  l: 'label',
  m: 'memory',
  u: 'user',
  v: 'volume',
  w: 'workdir',
};

/** Applies them in order on what the app says otherwise; a parameter wins. */
export function applyParameters(
  parts: DockerCreateParts,
  parameters: readonly { readonly key: string; readonly value: string }[],
): void {
  for (const { key, value } of parameters) {
    const apply = known[short[key] ?? key];
    if (apply === undefined)
      throw new PortolanError('invalid', `Cannot use the parameter "${key}" of Docker`, {
        field: 'container.docker.parameters',
        remedy: `known are ${Object.keys(known).join(', ')}; networks and ports belong into the app's own fields`,
      });
    apply(parts, value, key);
  }
}

function malformed(key: string, value: string, remedy: string): PortolanError {
  return new PortolanError('invalid', `Cannot use "${value}" for the parameter "${key}" of Docker`, {
    field: 'container.docker.parameters',
    remedy,
  });
}
