/**
 * What this host offers: every kernel feature is tried for real in a throw-away network namespace, never assumed from a
 * version number. Nothing on the host itself is changed.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describeError } from '../base/errors.ts';
import { FastPath } from '../kernel/fastpath/fastpath.ts';

export type Verdict = 'ok' | 'warning' | 'failed';

export interface Check {
  readonly check: string;
  readonly verdict: Verdict;
  readonly found: string;
  /** What to do about it; empty when all is well. */
  readonly remedy: string;
}

const COMMAND_TIMEOUT_MS = 15_000;

interface Probe {
  readonly check: string;
  /** Shell lines, run as root in a namespace of their own. */
  readonly script: string;
  readonly need: 'must' | 'may';
  readonly remedy: string;
}

const probes: readonly Probe[] = [
  {
    check: 'vxlan',
    script: 'ip link add name probe type vxlan id 1024 dstport 64000 nolearning local 127.0.0.1',
    need: 'must',
    remedy: 'load or build the kernel module vxlan',
  },
  {
    check: 'veth',
    script: 'ip link add name probe0 type veth peer name probe1',
    need: 'must',
    remedy: 'load or build the kernel module veth',
  },
  {
    check: 'bridge',
    script: 'ip link add name probe type bridge',
    need: 'must',
    remedy: 'load or build the kernel module bridge',
  },
  {
    check: 'nftables nat',
    script: nftScript(`
      map m { type inet_proto . inet_service : ipv4_addr . inet_service; }
      chain c {
        type nat hook prerouting priority dstnat;
        fib daddr type local dnat ip to meta l4proto . th dport map @m
      }
      chain p { type nat hook postrouting priority srcnat; masquerade; }`),
    need: 'must',
    remedy: 'install nftables 1.0 or later and load nf_tables, nft_nat, nft_masq, nft_fib_inet',
  },
  {
    check: 'nftables virtual IPs',
    script: nftScript(`
      map m {
        typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport;
      }
      chain c {
        type nat hook prerouting priority dstnat;
        dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @m
        meta l4proto tcp reject with tcp reset
      }`),
    need: 'may',
    remedy: 'use Linux 5.9 or later with nft_numgen and nft_reject_inet, or set vips.enabled to false',
  },
  {
    check: 'conntrack notrack',
    script: nftScript(`
      chain c { type filter hook prerouting priority raw; udp dport 64000 notrack; }`),
    need: 'must',
    remedy: 'load the kernel module nft_ct',
  },
  {
    check: 'ipv6',
    script: 'ip -6 addr add fd00::1/64 dev lo',
    need: 'may',
    remedy: 'boot without ipv6.disable=1, or set enable_ipv6: false',
  },
];

/** Each object ends its line: nft takes no closing brace right behind another. */
function nftScript(objects: string): string {
  return `nft -f - <<'E'\ntable inet probe {${objects}\n}\nE`;
}

/** Runs every check; at most a few seconds. */
export async function preflight(): Promise<readonly Check[]> {
  const features = await Promise.all(probes.map(tryProbe));
  return [
    rootCheck(),
    ...features,
    fastPathCheck(),
    ...programChecks(),
    neighbourTableCheck(),
    await legacyTablesCheck(),
  ];
}

async function tryProbe(probe: Probe): Promise<Check> {
  const result = await run('unshare', ['--net', 'sh', '-ec', probe.script]);
  if (result.ok) return { check: probe.check, verdict: 'ok', found: 'works', remedy: '' };
  const found = result.stderr.split('\n')[0] ?? 'does not work';
  return {
    check: probe.check,
    verdict: probe.need === 'must' ? 'failed' : 'warning',
    found,
    remedy: probe.remedy,
  };
}

function rootCheck(): Check {
  const root = process.getuid?.() === 0;
  return {
    check: 'root',
    verdict: root ? 'ok' : 'failed',
    found: root ? 'yes' : 'no',
    remedy: root ? '' : 'run as root: namespaces and netlink need CAP_NET_ADMIN and CAP_SYS_ADMIN',
  };
}

/** Loads the programs, and attaches them to nothing. */
function fastPathCheck(): Check {
  const check = 'fast path';
  try {
    FastPath.open().close();
    return { check, verdict: 'ok', found: 'works', remedy: '' };
  } catch (error) {
    const found = `off: long streams go through all of the kernel (${describeError(error)})`;
    return { check, verdict: 'ok', found, remedy: '' };
  }
}

function programChecks(): readonly Check[] {
  const wanted = [
    { program: 'nft', need: 'failed', remedy: 'apt-get install nftables' },
    { program: 'runc', need: 'warning', remedy: 'apt-get install runc (only `portolan container` needs it)' },
    {
      program: 'conmon',
      need: 'warning',
      remedy: 'apt-get install conmon (only `portolan container` needs it)',
    },
  ] as const;
  return wanted.map(({ program, need, remedy }) => {
    const path = findProgram(program);
    return path === undefined
      ? { check: program, verdict: need, found: 'not installed', remedy }
      : { check: program, verdict: 'ok', found: path, remedy: '' };
  });
}

function findProgram(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

/** The limit counts entries of the whole kernel, permanent ones included (PAINS: neighbour table overflow). */
function neighbourTableCheck(): Check {
  const path = '/proc/sys/net/ipv4/neigh/default/gc_thresh3';
  const limit = existsSync(path) ? Number(readFileSync(path, 'utf8')) : Number.NaN;
  const enough = Number.isNaN(limit) || limit >= 2048;
  return {
    check: 'neighbour table',
    verdict: enough ? 'ok' : 'warning',
    found: Number.isNaN(limit) ? 'limit not readable here' : `gc_thresh3 = ${limit}`,
    remedy: enough
      ? ''
      : 'sysctl -w net.ipv4.neigh.default.gc_thresh3=8192 for clusters of more than 500 hosts',
  };
}

/** Rules in legacy xtables are invisible to nft and may drop overlay traffic behind our back. */
async function legacyTablesCheck(): Promise<Check> {
  const check = 'legacy iptables';
  const save = findProgram('iptables-legacy-save');
  const tables = existsSync('/proc/net/ip_tables_names')
    ? readFileSync('/proc/net/ip_tables_names', 'utf8').trim()
    : '';
  if (tables === '' || save === undefined) return { check, verdict: 'ok', found: 'not in use', remedy: '' };
  const rules = await run(save, []);
  const drop = rules.stdout.split('\n').find((line) => line.startsWith(':FORWARD DROP'));
  if (drop === undefined) return { check, verdict: 'ok', found: 'in use, forwards', remedy: '' };
  return {
    check,
    verdict: 'warning',
    found: `policy "${drop}" in legacy tables`,
    remedy:
      'switch Docker and others to iptables-nft: update-alternatives --set iptables /usr/sbin/iptables-nft',
  };
}

function run(
  command: string,
  args: readonly string[],
): Promise<{ ok: boolean; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(command, args, { timeout: COMMAND_TIMEOUT_MS }, (error, stdout, stderr) => {
      resolve({ ok: error === null, stdout, stderr: stderr === '' ? (error?.message ?? '') : stderr });
    });
  });
}
