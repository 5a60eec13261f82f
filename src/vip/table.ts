/**
 * All VIPs of the cluster as one node sees them, kept up to date task by task.
 *
 * Purpose: joins the claims of all tasks; a task that changes makes the VIPs it claims, or claimed, changed ones, and
 * those whose names' addresses move with it.
 * Invariants: the result depends on the tasks alone, not on the order in which they came.
 */
import { compareIp, Prefix, type Family, type IpAddress } from '../base/ip.ts';
import type { NodeId } from '../model/names.ts';
import type { ViewedTask } from '../model/task-view.ts';
import { AddressBook } from './address-book.ts';
import type { VipRange } from './addresses.ts';
import {
  sameClaims,
  taskClaims,
  vipId,
  type TaskClaims,
  type VipBackend,
  type VipClaim,
  type VipIdentity,
  type VipIssue,
} from './claims.ts';

export interface Vip extends VipIdentity {
  readonly id: string;
  /** One of each family that it has backends of; none when it cannot be had. */
  readonly addresses: readonly IpAddress[];
  readonly affinity: 'none' | 'client';
  /** By address and port. */
  readonly backends: readonly VipBackend[];
  /** Why it has no address. */
  readonly problem?: string;
}

/** Addresses that no VIP may have, and whose they are. */
export interface Reserved {
  readonly prefix: Prefix;
  /** `the overlay "dcos"` */
  readonly owner: string;
}

export interface VipTableInit {
  readonly self?: NodeId;
  /** Of named VIPs, by family; absent = there are none of that family. */
  readonly range4?: VipRange;
  readonly range6?: VipRange;
}

interface Held {
  readonly identity: VipIdentity;
  readonly claims: Map<string, readonly VipClaim[]>;
}

export class VipTable {
  readonly #init: VipTableInit;
  readonly #books: Readonly<Record<Family, AddressBook | undefined>>;
  /** Tasks that claim something, as last seen. */
  readonly #tasks = new Map<string, { readonly view: ViewedTask; readonly claims: TaskClaims }>();
  /** Of the few tasks that have some. */
  readonly #issues = new Map<string, readonly VipIssue[]>();
  /** How often there is the same issue of tasks of the same name. */
  readonly #alike = new Map<string, number>();
  #freshIssues: VipIssue[] = [];
  readonly #vips = new Map<string, Held>();
  /** VIPs of a name. */
  readonly #named = new Map<string, Set<string>>();
  /** How many claims of a name have a backend of the family: `4 myservice.marathon`. */
  readonly #uses = new Map<string, number>();
  readonly #changed = new Set<string>();
  /** As last asked for. */
  readonly #compiled = new Map<string, Vip>();
  /** Addresses that labels give, with the number of VIPs that have them. */
  readonly #given = new Map<string, { readonly address: IpAddress; count: number }>();
  #givenChanged = false;
  #reserved: readonly Reserved[] = [];

  constructor(init: VipTableInit) {
    this.#init = init;
    this.#books = {
      4: init.range4 && new AddressBook(init.range4),
      6: init.range6 && new AddressBook(init.range6),
    };
  }

  /** A task as it is now; `undefined`: gone. */
  put(id: string, view: ViewedTask | undefined): void {
    const seen = this.#tasks.get(id);
    const before = seen?.claims;
    const now = view && this.#claims(view, seen);
    if (view === undefined || now === undefined || now.claims.length + now.issues.length === 0)
      this.#tasks.delete(id);
    else this.#tasks.set(id, { view, claims: now });
    if (before !== undefined && now !== undefined && isSame(before, now)) return;
    this.#replaceIssues(id, now?.issues ?? []);
    // What is there before and after keeps its address: the new claims come before the old ones go.
    for (const claim of now?.claims ?? []) this.#use(claim, 1);
    this.#replaceClaims(id, before?.claims ?? [], now?.claims ?? []);
    for (const claim of before?.claims ?? []) this.#use(claim, -1);
  }

  /** Answers whether that concerns a VIP that is given by address. */
  reserve(reserved: readonly Reserved[]): void {
    this.#reserved = reserved;
    this.#givenChanged ||= this.#given.size > 0;
    for (const [id, { identity }] of this.#vips) if (identity.address !== undefined) this.#touch(id);
  }

  /** Ids of the VIPs that have come, gone or changed since the last call. */
  takeChanges(): ReadonlySet<string> {
    const changed = new Set(this.#changed);
    this.#changed.clear();
    return changed;
  }

  /** Addresses that labels give, where they may be had. */
  givenAddresses(): readonly Prefix[] {
    return Array.from(this.#given.values(), ({ address }) => address)
      .filter((address) => this.#refusal(address) === undefined)
      .map((address) => new Prefix(address, address.family === 4 ? 32 : 128));
  }

  /** Whether those may have changed since the last call. */
  takeGiven(): boolean {
    const changed = this.#givenChanged;
    this.#givenChanged = false;
    return changed;
  }

  ids(): Iterable<string> {
    return this.#vips.keys();
  }

  get(id: string): Vip | undefined {
    const held = this.#vips.get(id);
    if (held === undefined) return undefined;
    const compiled = this.#compiled.get(id) ?? this.#compile(id, held);
    this.#compiled.set(id, compiled);
    return compiled;
  }

  issues(): readonly VipIssue[] {
    return Array.from(this.#issues.values()).flat();
  }

  /** One of each that has come since the last call, where tasks of the same name had no such before. */
  takeFreshIssues(): readonly VipIssue[] {
    const fresh = this.#freshIssues;
    this.#freshIssues = [];
    return fresh;
  }

  /** Why the VIP cannot be had by the address that labels give it. */
  refusal(id: string): string | undefined {
    const address = this.#vips.get(id)?.identity.address;
    return address && this.#refusal(address);
  }

  /** Addresses of named VIPs, by name. */
  names(): ReadonlyMap<string, readonly IpAddress[]> {
    return new Map(Array.from(this.#named.keys(), (name) => [name, this.#namedAddresses(name)]));
  }

  #claims(view: ViewedTask, seen: { readonly view: ViewedTask; readonly claims: TaskClaims } | undefined) {
    return (seen && sameClaims(seen.view, view, seen.claims)) ?? taskClaims(view, this.#init.self);
  }

  #compile(id: string, held: Held): Vip {
    const backends: VipBackend[] = [];
    let affinity: Vip['affinity'] = 'none';
    for (const claims of held.claims.values())
      for (const claim of claims) {
        backends.push(claim.backend);
        if (claim.affinity === 'client') affinity = 'client';
      }
    backends.sort(compareBackends);
    const { addresses, problem } = this.#addresses(held.identity, backends);
    return {
      ...held.identity,
      id,
      addresses,
      affinity,
      backends,
      ...(problem === undefined ? {} : { problem }),
    };
  }

  #addresses(
    identity: VipIdentity,
    backends: readonly VipBackend[],
  ): { readonly addresses: readonly IpAddress[]; readonly problem?: string } {
    const { name, address } = identity;
    if (address !== undefined) {
      const problem = this.#refusal(address);
      return problem === undefined ? { addresses: [address] } : { addresses: [], problem };
    }
    const addresses = this.#namedAddresses(name ?? '').filter(({ family }) =>
      backends.some((backend) => backend.address.family === family),
    );
    return addresses.length > 0
      ? { addresses }
      : { addresses, problem: 'all addresses of the range for named VIPs are taken' };
  }

  #namedAddresses(name: string): IpAddress[] {
    return [this.#books[4]?.get(name), this.#books[6]?.get(name)].filter((each) => each !== undefined);
  }

  #refusal(address: IpAddress): string | undefined {
    const owner = this.#reserved.find(({ prefix }) => prefix.contains(address))?.owner;
    if (owner !== undefined) return `${String(address)} belongs to ${owner}: choose another address`;
    const range = address.family === 4 ? this.#init.range4 : this.#init.range6;
    const isNamed =
      range !== undefined && compareIp(range.min, address) <= 0 && compareIp(address, range.max) <= 0;
    return isNamed ? `${String(address)} is in the range of named VIPs: choose another address` : undefined;
  }

  /** Each at the price of its own, since one app may have it on all of its tasks. */
  #replaceIssues(task: string, now: readonly VipIssue[]): void {
    const before = this.#issues.get(task) ?? [];
    if (now.length === 0) this.#issues.delete(task);
    else this.#issues.set(task, now);
    for (const issue of now) {
      const key = alikeKey(issue);
      const count = this.#alike.get(key) ?? 0;
      if (count === 0) this.#freshIssues.push(issue);
      this.#alike.set(key, count + 1);
    }
    for (const issue of before) {
      const key = alikeKey(issue);
      const count = (this.#alike.get(key) ?? 0) - 1;
      if (count > 0) this.#alike.set(key, count);
      else this.#alike.delete(key);
    }
  }

  #replaceClaims(task: string, before: readonly VipClaim[], now: readonly VipClaim[]): void {
    const byVip = new Map<string, VipClaim[]>();
    for (const claim of now) {
      const id = vipId(claim.vip);
      byVip.set(id, [...(byVip.get(id) ?? []), claim]);
    }
    for (const claim of before) {
      const id = vipId(claim.vip);
      if (!byVip.has(id)) this.#drop(task, id);
    }
    for (const [id, claims] of byVip) {
      const identity = claims[0]?.vip;
      if (identity === undefined) continue;
      if (identity.address !== undefined && !this.#vips.has(id)) this.#give(identity.address, 1);
      const held = this.#vips.get(id) ?? { identity, claims: new Map<string, readonly VipClaim[]>() };
      this.#vips.set(id, held);
      held.claims.set(task, claims);
      this.#touch(id);
      if (identity.name !== undefined) this.#name(identity.name).add(id);
    }
  }

  #drop(task: string, id: string): void {
    const held = this.#vips.get(id);
    if (held?.claims.delete(task) !== true) return;
    this.#touch(id);
    if (held.claims.size > 0) return;
    this.#vips.delete(id);
    const { name, address } = held.identity;
    if (address !== undefined) this.#give(address, -1);
    if (name === undefined) return;
    this.#name(name).delete(id);
    if (this.#name(name).size === 0) this.#named.delete(name);
  }

  #touch(id: string): void {
    this.#changed.add(id);
    this.#compiled.delete(id);
  }

  #give(address: IpAddress, by: 1 | -1): void {
    const key = String(address);
    const given = this.#given.get(key) ?? { address, count: 0 };
    given.count += by;
    if (given.count === 0) this.#given.delete(key);
    else this.#given.set(key, given);
    this.#givenChanged = true;
  }

  #name(name: string): Set<string> {
    const vips = this.#named.get(name) ?? new Set<string>();
    this.#named.set(name, vips);
    return vips;
  }

  /** A name has an address of a family while it has backends of it. */
  #use({ vip, backend }: VipClaim, by: 1 | -1): void {
    if (vip.name === undefined) return;
    const { family } = backend.address;
    const key = `${family} ${vip.name}`;
    const before = this.#uses.get(key) ?? 0;
    const now = before + by;
    if (now === 0) this.#uses.delete(key);
    else this.#uses.set(key, now);
    if (before > 0 && now > 0) return;
    const book = this.#books[family];
    const moved = now > 0 ? book?.add(vip.name) : book?.remove(vip.name);
    for (const name of moved ?? []) for (const id of this.#named.get(name) ?? []) this.#touch(id);
  }
}

/** Equal texts: what is said once in a log. */
const alikeKey = ({ label, value, problem, name }: VipIssue): string =>
  JSON.stringify([label, value, problem, name]);

function compareBackends(a: VipBackend, b: VipBackend): number {
  return compareIp(a.address, b.address) || a.port - b.port || (a.task < b.task ? -1 : 1);
}

/** Nothing that a VIP shows has changed. */
function isSame(a: TaskClaims, b: TaskClaims): boolean {
  if (a === b) return true;
  return (
    a.claims.length === b.claims.length &&
    a.issues.length === b.issues.length &&
    a.claims.every((claim, i) => isSameClaim(claim, b.claims[i])) &&
    (a.issues.length === 0 || JSON.stringify(a.issues) === JSON.stringify(b.issues))
  );
}

/** Field by field: their text would be most of the garbage that a change makes. */
function isSameClaim(a: VipClaim, b: VipClaim | undefined): boolean {
  if (b === undefined || a.affinity !== b.affinity) return false;
  const [own, other] = [a.backend, b.backend];
  return (
    own.weight === other.weight &&
    own.reachable === other.reachable &&
    own.port === other.port &&
    own.local === other.local &&
    own.task === other.task &&
    own.name === other.name &&
    own.node === other.node &&
    own.host === other.host &&
    own.agentIp === other.agentIp &&
    own.address.equals(other.address) &&
    vipId(a.vip) === vipId(b.vip)
  );
}
