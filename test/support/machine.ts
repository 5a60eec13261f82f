/** What a machine has: to compare before and after, and to find what a lab left. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** State of the root network namespace; nobody but a leak changes it. */
export interface RootNetwork {
  readonly links: readonly string[];
  readonly addresses: readonly string[];
  readonly routes: readonly string[];
  readonly rules: readonly string[];
  readonly tables: readonly string[];
}

const lines = (program: string, ...args: string[]): readonly string[] =>
  execFileSync(program, args, { encoding: 'utf8' }).split('\n').filter(Boolean).sort();

export function rootNetwork(): RootNetwork {
  return {
    links: lines('ip', '-br', 'link'),
    addresses: lines('ip', '-br', 'address'),
    routes: [
      ...lines('ip', 'route', 'show', 'table', 'all'),
      ...lines('ip', '-6', 'route', 'show', 'table', 'all'),
    ],
    rules: [...lines('ip', 'rule'), ...lines('ip', '-6', 'rule')],
    tables: lines('nft', 'list', 'tables'),
  };
}

/** Everything on this machine that mentions the lab: must be empty when it is down. */
export function tracesOf(lab: string): readonly string[] {
  return [
    ...namespaceNames()
      .filter((name) => name.startsWith(`${lab}-`))
      .map((name) => `namespace ${name}`),
    ...mountsOf(lab).map((line) => `mount ${line}`),
    ...processesOf(lab).map((line) => `process ${line}`),
    ...filesOf(lab).map((path) => `file ${path}`),
    ...cgroupsOf(lab).map((path) => `cgroup ${path}`),
  ];
}

const namespaceNames = (): readonly string[] => (existsSync('/run/netns') ? readdirSync('/run/netns') : []);

function mountsOf(lab: string): readonly string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return mounts.filter((line) => new RegExp(`/run/(portolan-lab/${lab}[/ ]|netns/${lab}-)`).test(line));
}

/** Processes whose mounts or words lie in the lab's directory; `execFileSync` children of this test are not among them. */
function processesOf(lab: string): readonly string[] {
  const mark = new RegExp(`/run/portolan-lab/${lab}(/|$|\\0)`);
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid)
    .filter(
      (pid) => mark.test(readText(`/proc/${pid}/cmdline`)) || mark.test(readText(`/proc/${pid}/mountinfo`)),
    )
    .filter((pid) => !/^State:\s+[ZX]/m.test(readText(`/proc/${pid}/status`)))
    .map((pid) => `${pid} ${readText(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // It has ended meanwhile.
  }
}

function filesOf(lab: string): readonly string[] {
  const paths = [
    `/run/portolan-lab/${lab}`,
    `/run/portolan-lab/${lab}.lock`,
    '/etc/portolan',
    '/var/lib/portolan',
  ];
  return paths.filter((path) => existsSync(path));
}

function cgroupsOf(lab: string): readonly string[] {
  const hierarchies = existsSync('/sys/fs/cgroup') ? readdirSync('/sys/fs/cgroup') : [];
  return hierarchies.flatMap((each) => {
    const root = `/sys/fs/cgroup/${each}`;
    const names = existsSync(root) ? safeList(root) : [];
    return names.filter((name) => name.startsWith(`portolan-lab-${lab}-`)).map((name) => `${root}/${name}`);
  });
}

function safeList(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // A file.
  }
}
