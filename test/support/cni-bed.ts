/**
 * A host for CNI tests: a network namespace with a bridge, our nft table and the attachments service, and containers.
 *
 * The thread that opens a bed is in its host namespace until the bed is closed, as the agent is; so `nft` and whatever
 * else the service starts works there and never in the machine's own namespace.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { realClock, type Clock } from '../../src/base/clock.ts';
import { InterfaceAddress, ip, prefix } from '../../src/base/ip.ts';
import { silentLog, type Log } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { Attachments } from '../../src/agent/attachments.ts';
import { networkView, type NetworkView } from '../../src/agent/attachments-network.ts';
import type { Answered } from '../../src/agent/cni-answer.ts';
import { answerRequest } from '../../src/agent/cni-answer.ts';
import { encodeWireRequest } from '../../src/cni/wire.ts';
import * as libc from '../../src/kernel/libc.ts';
import { openKernel } from '../../src/kernel/real.ts';
import type { Kernel, KernelOperation } from '../../src/kernel/types.ts';
import { portMapSets } from '../../src/overlay/port-map.ts';
import { requiredSysctls, ruleset, TABLE_REF } from '../../src/overlay/ruleset.ts';
import type { Journal } from '../../src/store/types.ts';

export const MTU = 1420;

const overlays = [
  { name: 'dcos', space: prefix('9.0.0.0/8'), bridge: 'm-dcos', half: '9.0.1.0/25' },
  {
    name: 'dual',
    space: prefix('9.192.0.0/16'),
    space6: prefix('fd01:b::/64'),
    bridge: 'm-dual',
    half: '9.192.1.0/29',
    half6: 'fd01:b:0:0:1::/81',
  },
];

export class CniBed {
  readonly name: string;
  readonly #home: number;
  readonly #containers = new Set<string>();
  #count = 0;
  kernel!: Kernel;
  /** How often the reconciler was asked for. */
  rounds = 0;
  notReady: NetworkView['notReady'];
  /** Of all networks: as the underlay allows. */
  mtu = MTU;

  private constructor(prefixOfNames: string) {
    this.name = `${prefixOfNames}-${process.pid}-h`;
    this.#home = openSync('/proc/self/ns/net', 'r');
  }

  /** `names` begins the name of every namespace it makes. */
  static async open(names: string): Promise<CniBed> {
    const bed = new CniBed(names);
    run('ip', 'netns', 'add', bed.name);
    enter(`/run/netns/${bed.name}`);
    bed.kernel = await openKernel({ log: silentLog });
    await bed.reconcile();
    return bed;
  }

  async close(): Promise<void> {
    for (const container of [...this.#containers]) this.removeContainer(container);
    this.kernel.close();
    enter(this.#home);
    closeSync(this.#home);
    run('ip', 'netns', 'delete', this.name);
  }

  /** What the agent's reconciler does for the service: loopback, bridges, table. */
  async reconcile(): Promise<void> {
    this.rounds++;
    const failures = await this.kernel.apply([
      { do: 'link-set', name: 'lo', settings: { up: true } },
      ...overlays.flatMap(bridgeOperations),
    ]);
    const failed = failures.find(({ error }) => error.code !== 'EEXIST');
    if (failed !== undefined) throw failed.error;
    await this.kernel.writeSysctl('net/ipv4/ip_forward', '1');
    await this.kernel.writeSysctl('net/ipv6/conf/all/forwarding', '1');
    const input = {
      overlays: overlays.map(({ half, ...rest }) => ({ ...rest, subnet: prefix(half) })),
      vtep: 'vtep1024',
      vxlanPort: 64_000,
      underlay: ip('10.0.0.11'),
      underlayLink: 'eth0',
      mtu: 1450,
      portMappings: [],
      dns: { addresses: [], port: 53 },
    };
    await this.kernel.nft.replace(ruleset(input));
    for (const { key, value } of requiredSysctls(input)) await this.kernel.writeSysctl(key, value);
  }

  network(name: string): NetworkView | undefined {
    const found = overlays.find((overlay) => overlay.name === name);
    if (found === undefined) return undefined;
    const view = networkView(
      {
        info: {
          name,
          enabled: true,
          subnet: String(found.space),
          ...(found.space6 === undefined ? {} : { subnet6: String(found.space6) }),
        },
        mesos_bridge: {
          name: found.bridge,
          ip: found.half,
          ...(found.half6 === undefined ? {} : { ip6: found.half6 }),
        },
        backend: {
          vxlan: {
            vni: 1024,
            vtep_name: 'vtep1024',
            vtep_ip: '44.128.0.1/20',
            vtep_mac: '70:b3:d5:80:00:01',
          },
        },
      },
      { mtu: this.mtu, ipv6: true },
    );
    return view && { ...view, ...(this.notReady === undefined ? {} : { notReady: this.notReady }) };
  }

  service(
    journal: Journal,
    options: { bootId?: string; kernel?: Kernel; clock?: Clock; log?: Log; onChange?: () => void } = {},
  ): Attachments {
    const { bootId = 'one', kernel = this.kernel, clock = realClock, log = silentLog } = options;
    return new Attachments(
      { kernel, journal, clock, log, metrics: createMetrics() },
      {
        bootId,
        network: (name) => this.network(name),
        dnsServers: () => [],
        networks: () => overlays.map(({ name }) => name),
        onChange: options.onChange ?? (() => undefined),
        settled: () => this.reconcile(),
      },
    );
  }

  container(): string {
    const name = `${this.name}c${this.#count++}`;
    run('ip', 'netns', 'add', name);
    this.#containers.add(name);
    return name;
  }

  removeContainer(name: string): void {
    this.#containers.delete(name);
    run('ip', 'netns', 'delete', name);
  }

  /** Runs a program inside a container. */
  inside(container: string, ...command: string[]): string {
    return run('nsenter', `--net=/run/netns/${container}`, ...command);
  }

  /** Starts a program inside a container; the caller kills it. */
  start(container: string, ...command: string[]): ChildProcess {
    return spawn('nsenter', [`--net=/run/netns/${container}`, ...command], { stdio: 'ignore' });
  }

  /** Everything of ours that an attachment may leave on the host. */
  async leftovers(): Promise<{ links: string[]; elements: string[] }> {
    const links = (await this.kernel.links())
      .filter(({ name }) => name.startsWith('pv'))
      .map(({ name }) => name);
    const elements: string[] = [];
    for (const set of portMapSets)
      for (const element of (await this.kernel.nft.elements(TABLE_REF, set)) ?? [])
        elements.push(`${set.name} ${element.key.map(String).join(' ')}`);
    return { links, elements };
  }
}

function bridgeOperations(overlay: (typeof overlays)[number]): KernelOperation[] {
  const { bridge, half, half6 } = overlay;
  const subnets = [half, ...(half6 === undefined ? [] : [half6])].map(prefix);
  return [
    { do: 'link-add', name: bridge, link: { kind: 'bridge' }, settings: { up: true, mtu: MTU } },
    ...subnets.map((subnet): KernelOperation => {
      const gateway = subnet.at(1) ?? subnet.network;
      return {
        do: 'address-replace',
        address: { link: bridge, address: new InterfaceAddress(gateway, subnet.length) },
      };
    }),
  ];
}

function enter(namespace: string | number): void {
  const fd = typeof namespace === 'string' ? openSync(namespace, 'r') : namespace;
  const result = libc.setns(fd, libc.CLONE_NEWNET);
  if (typeof namespace === 'string') closeSync(fd);
  if (result < 0) throw new Error(`setns: errno ${-result}`);
}

export function run(file: string, ...args: string[]): string {
  return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export interface CniCall {
  readonly container: string;
  /** Absent = the namespace named like the container; empty = none. */
  readonly netns?: string;
  readonly ifname?: string;
  readonly network?: string;
  readonly args?: string;
  readonly version?: string;
  readonly config?: Record<string, unknown>;
}

/** A call as the executable hands it over. */
export function wireCall(command: string, call: CniCall): string {
  const { container, netns = `/run/netns/${container}`, ifname = 'eth0', network = 'dcos' } = call;
  return encodeWireRequest({
    environment: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: container,
      ...(netns === '' ? {} : { CNI_NETNS: netns }),
      CNI_IFNAME: ifname,
      CNI_ARGS: call.args ?? '',
      CNI_PATH: '/opt/cni/bin',
    },
    stdin: JSON.stringify({
      cniVersion: call.version ?? '1.1.0',
      name: network,
      type: 'portolan-cni',
      ...call.config,
    }),
  });
}

export async function callCni(service: Attachments, command: string, call: CniCall): Promise<Answered> {
  return answerRequest(service, wireCall(command, call));
}

/** Namespaces left behind by beds of that name: for the last assertion of a test file. */
export function leftNamespaces(names: string): string[] {
  return readdirSync('/run/netns').filter((name) => name.startsWith(`${names}-${process.pid}-`));
}
