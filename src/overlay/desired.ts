/**
 * The overlay's desired kernel state as a value: what `compile` gives and `plan` compares with the kernel.
 *
 * Purpose: one whole picture of everything the agent wants in its host's network namespace.
 * Invariants: every object in it is ours (docs/OWNERSHIP.md says by which mark); keys are unique within each list;
 * lists are ordered, so that equal inputs give equal states.
 * Review notes: a new object kind needs its row in docs/OWNERSHIP.md, its key in inventory.ts, its place in the order
 * of plan.ts and its branch in the model kernel of plan.test.ts.
 */
import type { InterfaceAddress, IpAddress, Prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import type { Address, FdbEntry, Neighbour, NewLink, Route, Rule } from '../kernel/types.ts';
import type { NftTable } from '../kernel/nft/types.ts';
import type { PortMapping } from '../model/endpoint.ts';
import type { NodeId } from '../model/names.ts';
import type { AgentNetworkConfig, AgentOverlay } from '../model/overlay.ts';
import type { OverlayRecord } from '../model/record.ts';
import type { DnsListen } from './dns-interface.ts';

/** One interface of one local container, as the agent's own journal has it. */
export interface Attachment {
  readonly container: string;
  readonly ifname: string;
  /** Name of the overlay. */
  readonly overlay: string;
  /** The host's end of the veth pair. */
  readonly hostLink: string;
  readonly addresses: readonly InterfaceAddress[];
  readonly ports: readonly PortMapping[];
}

export interface NodeOverlayRecord {
  readonly node: NodeId;
  readonly record: OverlayRecord;
}

export interface Grant {
  readonly overlays: readonly AgentOverlay[];
  readonly epoch: number;
}

export interface Underlay {
  readonly address: IpAddress;
  readonly link: string;
  readonly mtu: number;
}

export interface CompileInput {
  /** This node. */
  readonly node: NodeId;
  /** Absent = nothing is granted, so nothing of ours may be in the kernel. */
  readonly grant: Grant | undefined;
  /** Of all nodes, this one's own included. */
  readonly records: readonly NodeOverlayRecord[];
  /** Nodes that the operator removed: their records count for nothing. */
  readonly removed: ReadonlySet<NodeId>;
  readonly underlay: Underlay;
  /**
   * Every container interface that may have a veth on this host: from before its veth is made until after it is
   * deleted, because a marked veth without an attachment is removed as a stray.
   */
  readonly attachments: readonly Attachment[];
  /** Virtual addresses: routed, so that this host's own connections to them come as far as the rules. */
  readonly vips: readonly Prefix[];
  readonly network: AgentNetworkConfig;
  /** Of the node-local bridge network; absent = this host has none. */
  readonly localBridge?: Prefix;
  /** Where this host's DNS server listens; no addresses = nowhere. */
  readonly dns: DnsListen;
}

export interface DesiredSysctl {
  readonly key: string;
  readonly value: string;
  /** Written only over this value: a setting that only some hosts need corrected. */
  readonly onlyIf?: string;
  /** Where that other setting has that value, this one has another. */
  readonly instead?: { readonly where: string; readonly is: string; readonly value: string };
  /** Takes back a check of the kernel's that our table makes instead: set when that has been seen in place. */
  readonly guarded?: true;
  /** The device it belongs to; written after that device is there. */
  readonly link?: string;
  /** Overlays that do not work without it. */
  readonly overlays: readonly string[];
}

/** A device that is wholly ours: we make it, configure it and remove it. */
export interface DesiredLink {
  readonly name: string;
  readonly link: Exclude<NewLink, { readonly kind: 'veth' }>;
  readonly mtu: number;
  readonly mac: Mac;
  /** Its ownership mark. */
  readonly alias: string;
  readonly overlays: readonly string[];
}

/** The host's end of a container's veth pair: made by the attachment, held in place from here. */
export interface DesiredPort {
  readonly name: string;
  /** Absent = its overlay has no bridge here (any more): the veth is left as it is, for it has an owner. */
  readonly bridge: string | undefined;
  readonly alias: string;
  readonly overlays: readonly string[];
}

export interface DesiredOverlay {
  readonly name: string;
  readonly spaces: readonly Prefix[];
}

/** What cannot be done, and why, in words for people. */
export interface Fault {
  /** Absent = every overlay. */
  readonly overlay: string | undefined;
  readonly reason: string;
}

export interface DesiredState {
  readonly sysctls: readonly DesiredSysctl[];
  readonly links: readonly DesiredLink[];
  readonly ports: readonly DesiredPort[];
  readonly addresses: readonly Address[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly routes: readonly Route[];
  readonly rules: readonly Rule[];
  /** Absent = the table is removed. */
  readonly table: NftTable | undefined;
  /** The overlays granted to this node, by name. */
  readonly overlays: readonly DesiredOverlay[];
  /** Found while compiling: these overlays do not come up as asked. */
  readonly faults: readonly Fault[];
  /** Remote nodes whose claims were void, with the reason: for the log and `status`. */
  readonly voided: readonly VoidClaim[];
}

export interface VoidClaim {
  readonly node: NodeId;
  readonly reason: string;
}

/** Nothing of ours: what leaving the cluster and uninstalling want. */
export const nothingDesired: DesiredState = {
  sysctls: [],
  links: [],
  ports: [],
  addresses: [],
  neighbours: [],
  fdb: [],
  routes: [],
  rules: [],
  table: undefined,
  overlays: [],
  faults: [],
  voided: [],
};
