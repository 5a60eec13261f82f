/** What a plan is made of: steps in the order in which the kernel has to take them, each with what it is for. */
import type { NftElementChange, NftTable, NftTableRef } from '../kernel/nft/types.ts';
import type { Address, FdbEntry, KernelOperation, Link, Neighbour, Route, Rule } from '../kernel/types.ts';
import type { NftElement } from '../kernel/nft/types.ts';
import type { Fault } from './desired.ts';

export type ObjectKind =
  'link' | 'port' | 'address' | 'route' | 'rule' | 'neighbour' | 'fdb' | 'sysctl' | 'nft';

/** For logs, counters and blame: one line of what is done and why. */
export interface Change {
  readonly object: ObjectKind;
  /** Equal for the same object in every round. */
  readonly id: string;
  readonly action: 'make' | 'correct' | 'remove';
  /** The object in iproute2's words: as it will be, or as it was when it is removed. */
  readonly what: string;
  /** What a corrected object was instead. */
  readonly was: string | undefined;
  /** The device concerned, which says whose overlays suffer when it fails. */
  readonly link: string | undefined;
}

export type Step =
  | { readonly do: 'kernel'; readonly operation: KernelOperation; readonly change: Change }
  | { readonly do: 'sysctl'; readonly key: string; readonly value: string; readonly change: Change }
  | { readonly do: 'nft-replace'; readonly table: NftTable; readonly change: Change }
  | {
      readonly do: 'nft-change';
      readonly table: NftTableRef;
      readonly changes: readonly NftElementChange[];
      readonly change: Change;
    }
  | { readonly do: 'nft-remove'; readonly table: NftTableRef; readonly change: Change };

/** Neighbouring steps; whoever asks for one twice gets equal ones. */
export interface StepRun extends Iterable<Step> {
  readonly length: number;
  at(position: number): Step | undefined;
  /** Set where all of them make objects of this kind that were not there. */
  readonly makes?: ObjectKind | undefined;
}

export interface Steps extends Iterable<Step> {
  readonly runs: readonly StepRun[];
}

export interface Plan {
  readonly steps: Steps;
  /** What stays undone because somebody else's object is in the way. */
  readonly faults: readonly Fault[];
  /** The kernel drops further objects as a consequence of some step, so it has to be looked at again. */
  readonly lookAgain: boolean;
  /** Indexes of all stray veths seen: the next look's `knownStrays`. */
  readonly strays: ReadonlySet<number>;
}

/** Our nft table as found. */
export interface ObservedTable {
  readonly exists: boolean;
  /** Chains, rules and set declarations are those desired. */
  readonly intact: boolean;
  /** By set; a set that is missing is absent. */
  readonly elements: ReadonlyMap<string, readonly NftElement[]>;
}

/** The kernel as found, scoped to what can be ours. */
export interface Observed {
  readonly links: ReadonlyMap<string, Link>;
  /**
   * Stray veths of an earlier look, by index. Only those are removed: one that is seen for the first time may be that
   * of an attachment which is just coming or going.
   */
  readonly knownStrays: ReadonlySet<number>;
  readonly addresses: readonly Address[];
  /** Those of our protocol, all tables. */
  readonly routes: readonly Route[];
  readonly rules: readonly Rule[];
  /** Of our VXLAN devices. */
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly sysctls: ReadonlyMap<string, string | undefined>;
  readonly table: ObservedTable;
}
