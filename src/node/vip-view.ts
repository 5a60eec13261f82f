/**
 * VIPs as agent and master know them from the records: the table, fed task by task, and what the API shows of it.
 *
 * Only an agent has them in a kernel (agent/vips.ts); a master answers the same questions for the whole cluster.
 */
import { createHash } from 'node:crypto';
import { parsePrefix, type IpAddress } from '../base/ip.ts';
import type { Log } from '../base/log.ts';
import type { VipsConfig } from '../model/config.ts';
import { VIP_DOMAIN } from '../model/dns.ts';
import type { NodeId } from '../model/names.ts';
import type { VipRange } from '../vip/addresses.ts';
import type { VipBackend, VipIssue } from '../vip/claims.ts';
import { usableBackends } from '../vip/render.ts';
import { VipTable, type Reserved, type Vip } from '../vip/table.ts';
import type { RecordView } from './record-view.ts';

export interface VipViewInit {
  readonly config: VipsConfig;
  /** Whose kernel it is for; absent on masters. */
  readonly self?: NodeId;
}

/** As `GET /v1/vips` of DC/OS has it. */
export interface VipListed {
  readonly vip: string;
  readonly protocol: string;
  readonly backend: readonly { readonly ip: string; readonly port: number }[];
}

export class VipView {
  readonly table: VipTable;
  readonly #log: Log;
  readonly #records: RecordView;
  readonly #listeners = new Set<(changed: ReadonlySet<string>) => void>();
  readonly #unsubscribe: () => void;
  /** What the log has of VIPs that cannot be had, by id. */
  readonly #refusals = new Map<string, string>();

  constructor(components: { readonly records: RecordView; readonly log: Log }, init: VipViewInit) {
    const { records } = components;
    this.#log = components.log;
    this.#records = records;
    const range4 = rangeOf(init.config.range);
    const range6 = rangeOf(init.config.range6);
    this.table = new VipTable({
      ...(init.self === undefined ? {} : { self: init.self }),
      ...(range4 === undefined ? {} : { range4 }),
      ...(range6 === undefined ? {} : { range6 }),
    });
    this.#unsubscribe = records.subscribeTasks(({ tasks }) => {
      for (const id of tasks) this.table.put(id, records.task(id));
      if (tasks.size > 0) this.#tell();
    });
  }

  /** Calls back after the VIPs with these ids have come, gone or changed. Returns the way to stop. */
  subscribe(listener: (changed: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes what is known already, in slices; listeners are told. */
  *load(): Generator<undefined, void> {
    let count = 0;
    for (const view of this.#records.tasks()) {
      // As it is now: records may come between two slices.
      this.table.put(view.id, this.#records.task(view.id));
      if (++count % SLICE === 0) yield;
    }
    this.#tell();
  }

  /** What no VIP may be. */
  reserve(reserved: readonly Reserved[]): void {
    this.table.reserve(reserved);
    this.#tell();
  }

  close(): void {
    this.#unsubscribe();
  }

  vips(): readonly Vip[] {
    return Array.from(this.table.ids(), (id) => this.table.get(id))
      .filter((vip) => vip !== undefined)
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  listed(): { readonly vips: readonly VipListed[]; readonly etag: string } {
    const vips = this.vips()
      .filter(({ addresses }) => addresses.length > 0)
      .map((vip) => ({
        vip: vipText(vip),
        protocol: vip.protocol,
        backend: usableBackends(vip.backends).map(({ address, port }) => ({ ip: String(address), port })),
      }));
    const digest = createHash('sha256').update(JSON.stringify(vips)).digest('base64url');
    return { vips, etag: `"${digest.slice(0, 27)}"` };
  }

  /** By id, by what the list shows, or by address and port; all protocols of it. */
  find(ref: string): readonly Vip[] {
    const wanted = ref.toLowerCase();
    return this.vips().filter((vip) => namesOf(vip).includes(wanted));
  }

  issues(): readonly VipIssue[] {
    return this.table.issues();
  }

  /** Addresses of named VIPs, by name: `myservice.marathon`. */
  names(): ReadonlyMap<string, readonly IpAddress[]> {
    return this.table.names();
  }

  /** Of a named VIP by its name in DNS, or by what of it is before the domain, or before the only framework that has it. */
  addressesOf(name: string): readonly IpAddress[] {
    const names = this.names();
    const short = name.endsWith(`.${VIP_DOMAIN}`) ? name.slice(0, -VIP_DOMAIN.length - 1) : name;
    const known = names.get(short);
    if (known !== undefined || short !== name) return known ?? [];
    const [first, second] = Array.from(names).filter(
      ([each]) => each.slice(0, each.lastIndexOf('.')) === name,
    );
    return second === undefined ? (first?.[1] ?? []) : [];
  }

  /** Of the only VIP that a label could mean by `name:port`. */
  addressesAt(name: string, port: number, protocol: Vip['protocol']): readonly IpAddress[] {
    const [first, second] = this.find(`${name}:${port}`).filter((vip) => vip.protocol === protocol);
    return second === undefined ? (first?.addresses ?? []) : [];
  }

  #tell(): void {
    for (const issue of this.table.takeFreshIssues())
      this.#log.warn('A VIP label does not hold', { ...issue });
    const changed = this.table.takeChanges();
    for (const id of changed) this.#tellRefusal(id, this.table.refusal(id));
    if (changed.size > 0) for (const listener of this.#listeners) listener(changed);
  }

  #tellRefusal(vip: string, problem: string | undefined): void {
    if (problem === undefined) this.#refusals.delete(vip);
    else if (this.#refusals.get(vip) !== problem) {
      this.#refusals.set(vip, problem);
      this.#log.warn('A VIP cannot be had', { vip, problem });
    }
  }
}

/** Tasks between two looks at the clock. */
const SLICE = 50;

/** The last IPv4 address of the range is left out, as DC/OS did: the network's broadcast address. */
function rangeOf(text: string): VipRange | undefined {
  const prefix = parsePrefix(text);
  const max = prefix?.family === 4 && prefix.length < 31 ? prefix.last.plus(-1) : prefix?.last;
  return prefix === undefined || max === undefined ? undefined : { min: prefix.network, max };
}

/** `myservice.marathon.l4lb.thisdcos.directory:6666`, `1.2.3.4:80` */
export function vipText({ name, address, port }: Vip): string {
  if (name !== undefined) return `${name}.${VIP_DOMAIN}:${port}`;
  return address?.family === 6 ? `[${String(address)}]:${port}` : `${String(address)}:${port}`;
}

/** `tcp/myservice.marathon:6666`, the same without protocol, framework or port, with the domain, or by address. */
function namesOf(vip: Vip): readonly string[] {
  const { id, name, port, addresses } = vip;
  const hosts = name === undefined ? [] : [name, name.slice(0, name.lastIndexOf('.'))];
  const short = hosts.flatMap((host) => [`${host}:${port}`, host]);
  const byAddress = addresses.map((each) =>
    each.family === 6 ? `[${String(each)}]:${port}` : `${String(each)}:${port}`,
  );
  return [id, vipText(vip), ...short, ...byAddress];
}

/**
 * Equal exactly when two nodes lead new connections to the same addresses of the VIP to the same tasks. Addresses of tasks
 * are left out: the host of a task has another one than the others.
 */
export function vipRevision(vip: Vip): string {
  const chosen = usableBackends(vip.backends).filter(({ weight }) => weight > 0);
  const text = JSON.stringify([
    vip.id,
    vip.affinity,
    vip.addresses.map(String),
    chosen.map(({ node, task }) => `${node} ${task}`).sort(),
  ]);
  return createHash('sha256').update(text).digest('base64url').slice(0, 12);
}

export type VipDetail = ReturnType<typeof vipDetail>;

/** One VIP for people. */
export function vipDetail(vip: Vip): {
  readonly id: string;
  readonly vip: string;
  readonly addresses: readonly string[];
  readonly revision: string;
  readonly backends: readonly object[];
  readonly [more: string]: unknown;
} {
  const usable = new Set(usableBackends(vip.backends));
  return {
    id: vip.id,
    vip: vipText(vip),
    protocol: vip.protocol,
    port: vip.port,
    addresses: vip.addresses.map(String),
    affinity: vip.affinity,
    revision: vipRevision(vip),
    ...(vip.problem === undefined ? {} : { problem: vip.problem }),
    backends: vip.backends.map((backend) => backendDetail(backend, usable.has(backend))),
  };
}

function backendDetail(backend: VipBackend, isUsable: boolean): object {
  const { address, port, weight, reachable, host, name, task } = backend;
  return {
    ...{ ip: String(address), port, weight, reachable },
    /** False = left out of the kernel, for it is unreachable and others are not. */
    used: isUsable,
    ...{ host, name, task },
  };
}
