/**
 * nftables as values: our own tables only, replaced whole, or changed by set elements.
 *
 * Purpose: static rulesets go through the `nft` program in one transaction; elements of sets and maps, which change
 * with every container, go through raw nfnetlink in one atomic batch (0.03 ms instead of 20 ms).
 * Invariants: a table is either wholly as asked or as it was before; a table of another owner is never written here.
 */
import type { IpAddress, Prefix } from '../../base/ip.ts';

export type NftFamily = 'ip' | 'ip6' | 'inet' | 'bridge';

export interface NftTableRef {
  readonly family: NftFamily;
  readonly name: string;
}

/** Data types of set keys and map values, by their nft names. */
export type NftType =
  | 'ipv4_addr'
  | 'ipv6_addr'
  | 'inet_proto'
  | 'inet_service'
  | 'mark'
  /** What `meta priority` holds. */
  | 'classid'
  /** In keys: what `numgen` and `jhash` give. nft has no name for it, so that a set of it is declared by example. */
  | 'slot'
  | 'ifname'
  | 'ether_addr';

/** ipv4_addr, ipv6_addr: IpAddress (or Prefix in interval sets). ifname, ether_addr: text. Others: number. */
export type NftValue = IpAddress | Prefix | number | string;

export interface NftElement {
  /** One value per component of the set's key type. */
  readonly key: readonly NftValue[];
  /** One value per component of a map's data type; absent in sets. */
  readonly data?: readonly NftValue[];
}

export interface NftSet {
  readonly name: string;
  readonly key: readonly NftType[];
  /** Present = a map. */
  readonly data?: readonly NftType[];
  /** Elements are prefixes. */
  readonly interval?: boolean;
  /** Each element counts the packets that were looked up in it. */
  readonly counter?: boolean;
}

export interface NftChain {
  readonly name: string;
  /** Present = a base chain. */
  readonly base?: {
    readonly type: 'filter' | 'nat' | 'route';
    readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting' | 'ingress';
    readonly priority: number;
    readonly policy?: 'accept' | 'drop';
  };
  /** nft syntax, one statement list each, without handle. */
  readonly rules: readonly string[];
}

export interface NftTable extends NftTableRef {
  readonly sets: readonly (NftSet & { readonly elements: readonly NftElement[] })[];
  readonly chains: readonly NftChain[];
}

export interface NftElementChange {
  readonly set: NftSet;
  readonly remove: readonly NftElement[];
  readonly add: readonly NftElement[];
}

/** Changes of one set by elements as the kernel lays them out (packed.ts): text with one character per byte. */
export interface NftPackedChange {
  readonly set: string;
  /** Keys. */
  readonly remove: readonly string[];
  /** Keys with their data, which is empty in sets that are no maps. */
  readonly add: readonly (readonly [key: string, data: string])[];
}

export interface NftPackedElements {
  /** Data by key. */
  readonly elements: ReadonlyMap<string, string>;
  /** Packets by key, where the set counts. */
  readonly packets: ReadonlyMap<string, number>;
}

/** Takes the elements of one plain set or map as they are read, so that nobody has to keep them all. */
export interface NftPackedSink {
  /** What was taken counts no more: the reading begins, or begins anew. */
  restart(): void;
  /** False when the key has come before in this reading, which then is no answer. */
  take(key: string, data: string): boolean;
}

export interface Nft {
  /**
   * Makes the table exactly as given, elements included, in one transaction; established connections keep their
   * translation. Returns the fingerprint that `fingerprint` gives until somebody changes the table.
   */
  replace(table: NftTable): Promise<string>;
  /** Removes the table; no failure when there is none. */
  remove(table: NftTableRef): Promise<void>;
  /** Digest of chains, rules and set declarations, without handles, counters and elements; `undefined` = no table. */
  fingerprint(table: NftTableRef): Promise<string | undefined>;
  /**
   * The elements of one set or map, by raw dump. `undefined` when there is no such set. Addresses in interval sets come
   * back as prefixes, single ones with full length.
   */
  elements(table: NftTableRef, set: NftSet): Promise<readonly NftElement[] | undefined>;
  /**
   * Removes, then adds elements in one atomic batch. Removing an absent element fails the batch with ENOENT, adding a
   * key that is there with other data fails it with EEXIST; adding what is there already is no failure.
   */
  change(table: NftTableRef, changes: readonly NftElementChange[]): Promise<void>;
  /** `change` with packed elements of plain sets and maps. */
  changePacked(table: NftTableRef, changes: readonly NftPackedChange[]): Promise<void>;
  /** The elements of one plain set or map, packed. `undefined` when there is no such set. */
  packed(table: NftTableRef, set: string): Promise<NftPackedElements | undefined>;
  /** The same into a sink, as it is read, over several turns. False when there is no such set. */
  readPacked(table: NftTableRef, set: string, sink: NftPackedSink): Promise<boolean>;
  /** The ruleset generation of this namespace (NFT_MSG_GETGEN): unchanged = nobody has touched nftables since. */
  generation(): Promise<number>;
  /** Runs a script of nft commands in one transaction, for the few places that must touch another owner's chains. */
  run(script: string): Promise<void>;
  /** `nft -j ARGS`, parsed. Rejects with a KernelError ENOENT when the object does not exist. */
  list(args: readonly string[]): Promise<unknown>;
}

/** A text that is equal exactly when two elements of one set are equal: for diffs. */
export function elementKey(element: NftElement): string {
  return `${element.key.map(String).join(' . ')}${element.data === undefined ? '' : ` : ${element.data.map(String).join(' . ')}`}`;
}
