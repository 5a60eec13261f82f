/** The OCI runtime configuration (runtime-spec 1.0.2) of a native container: pure. */

export interface OciInit {
  readonly rootfs: string;
  readonly hostname: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly terminal: boolean;
  readonly netns: string;
  readonly cgroup: string;
  /** Directories of the host that the container must not see. */
  readonly hidden: readonly string[];
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
  const env = { PATH, HOSTNAME: init.hostname, HOME: '/root', ...init.env };
  return {
    ociVersion: '1.0.2',
    hostname: init.hostname,
    root: { path: init.rootfs, readonly: false },
    process: {
      terminal: init.terminal,
      user: { uid: 0, gid: 0 },
      args: init.argv,
      env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      cwd: init.cwd,
      noNewPrivileges: true,
      capabilities: {
        bounding: capabilities,
        effective: capabilities,
        permitted: capabilities,
        inheritable: [],
        ambient: [],
      },
    },
    mounts: mounts(),
    linux: {
      cgroupsPath: init.cgroup,
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
        { type: 'network', path: init.netns },
      ],
      resources: { devices: [{ allow: false, access: 'rwm' }, ...devices] },
      maskedPaths: [...maskedPaths, ...init.hidden],
      readonlyPaths,
    },
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
