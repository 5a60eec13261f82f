/** The OCI runtime configuration (runtime-spec 1.0.2) of a native container: pure. */
import type { Device } from './gpus.ts';

export interface OciMount {
  readonly source: string;
  readonly destination: string;
  readonly read_only: boolean;
}

export interface OciInit {
  readonly rootfs: string;
  /** Absent = the host's own. */
  readonly hostname?: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly terminal: boolean;
  /** Absent = the host's own network. */
  readonly netns?: string;
  readonly cgroup: string;
  /** Directories of the host that the container must not see. */
  readonly hidden: readonly string[];
  readonly user?: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };
  /** Absent = as much as there is. */
  readonly limits?: { readonly cpus: number; readonly mem_mib: number };
  readonly mounts?: readonly OciMount[];
  /** Of the host, besides those that every container has. */
  readonly devices?: readonly Device[];
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** What Docker gives by default: enough for servers and ping, too little to change the network. */
const capabilities = (
  'AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID ' +
  'SYS_CHROOT'
)
  .split(' ')
  .map((name) => `CAP_${name}`);
const maskedPaths = [
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export function ociConfig(init: OciInit): Readonly<Record<string, unknown>> {
  const { uid = 0, gid = 0, groups = [] } = init.user ?? {};
  const hostname = init.hostname === undefined ? {} : { HOSTNAME: init.hostname };
  const env = { PATH, ...hostname, ...(uid === 0 ? { HOME: '/root' } : {}), ...init.env };
  // A user who is not root has none, as with setuid(2).
  const effective = uid === 0 ? capabilities : [];
  return {
    ociVersion: '1.0.2',
    ...(init.hostname === undefined ? {} : { hostname: init.hostname }),
    root: { path: init.rootfs, readonly: false },
    process: {
      terminal: init.terminal,
      user: { uid, gid, additionalGids: groups },
      args: init.argv,
      env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      cwd: init.cwd,
      noNewPrivileges: true,
      capabilities: {
        bounding: capabilities,
        effective,
        permitted: effective,
        inheritable: [],
        ambient: [],
      },
    },
    mounts: [...mounts(), ...(init.mounts ?? []).map(bindMount)],
    linux: {
      cgroupsPath: init.cgroup,
      namespaces: namespaces(init),
      devices: (init.devices ?? []).map((each) => ({ ...each, type: 'c', fileMode: 0o666, uid: 0, gid: 0 })),
      resources: {
        devices: [{ allow: false, access: 'rwm' }, ...devices, ...(init.devices ?? []).map(allowed)],
        ...limits(init.limits),
      },
      maskedPaths: [...maskedPaths, ...init.hidden],
      readonlyPaths,
    },
  };
}

/** Who is in the host's network bears the host's name as well. */
function namespaces({ netns, hostname }: OciInit): readonly object[] {
  return [
    ...['pid', 'ipc', 'mount'].map((type) => ({ type })),
    ...(hostname === undefined ? [] : [{ type: 'uts' }]),
    ...(netns === undefined ? [] : [{ type: 'network', path: netns }]),
  ];
}

/** As Mesos computes them (src/slave/containerizer/mesos/isolators/cgroups): never less than runs at all. */
const CPU_SHARES_PER_CPU = 1024;
const MIN_CPU_SHARES = 2;
const CPU_PERIOD_US = 100_000;
const MIN_CPU_QUOTA_US = 1000;
const MIN_MEMORY_MIB = 32;

export function memoryLimitBytes(memMib: number): number {
  return Math.ceil(Math.max(memMib, MIN_MEMORY_MIB) * 1024 * 1024);
}

export function cpuShares(cpus: number): number {
  return Math.max(MIN_CPU_SHARES, Math.floor(cpus * CPU_SHARES_PER_CPU));
}

export function cpuQuota(cpus: number): { readonly quota: number; readonly period: number } {
  return { quota: Math.max(MIN_CPU_QUOTA_US, Math.floor(cpus * CPU_PERIOD_US)), period: CPU_PERIOD_US };
}

function limits(given: OciInit['limits']): object {
  if (given === undefined) return {};
  return {
    cpu: { shares: cpuShares(given.cpus), ...cpuQuota(given.cpus) },
    memory: { limit: memoryLimitBytes(given.mem_mib) },
  };
}

function bindMount({ source, destination, read_only }: OciMount): object {
  return {
    source,
    destination,
    type: 'bind',
    options: ['rbind', 'rprivate', read_only ? 'ro' : 'rw'],
  };
}

/** `c 1:3` null, `1:5` zero, `1:7` full, `1:8` random, `1:9` urandom, `5:0` tty, `5:2` and `136:*` ptys. */
const devices = [
  ...[
    [1, 3],
    [1, 5],
    [1, 7],
    [1, 8],
    [1, 9],
    [5, 0],
    [5, 2],
  ].map(([major, minor]) => ({
    allow: true,
    type: 'c',
    major,
    minor,
    access: 'rwm',
  })),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

function allowed({ major, minor }: Device): object {
  return { allow: true, type: 'c', major, minor, access: 'rw' };
}

/** `/run` and `/tmp` are the container's own: the host's hold sockets and state of others. */
function mounts(): readonly Readonly<Record<string, unknown>>[] {
  const strict = ['nosuid', 'noexec', 'nodev'];
  const tmpfs = (destination: string, options: readonly string[]) => ({
    destination,
    type: 'tmpfs',
    source: 'tmpfs',
    options,
  });
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: strict },
    tmpfs('/dev', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
    },
    tmpfs('/dev/shm', [...strict, 'mode=1777', 'size=65536k']),
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: strict },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...strict, 'ro'] },
    tmpfs('/run', ['nosuid', 'nodev', 'mode=755']),
    tmpfs('/tmp', ['nosuid', 'nodev', 'mode=1777']),
  ];
}
