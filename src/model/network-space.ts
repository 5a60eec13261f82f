/** A `network` section after its checks: the address spaces that blocks are taken from, as values. */
import type { Prefix } from '../base/ip.ts';
import type { OverlayInfo } from './overlay.ts';

/** One overlay's space in one family, and the length of the piece each agent gets. */
export interface FamilySpace {
  readonly space: Prefix;
  readonly length: number;
}

export interface OverlaySpace {
  readonly name: string;
  readonly info: OverlayInfo;
  readonly v4: FamilySpace | undefined;
  readonly v6: FamilySpace | undefined;
  /** False: nothing new is given; who has a block keeps it. */
  readonly enabled: boolean;
}

export interface NetworkSpace {
  readonly vtep: Prefix;
  readonly vtep6: Prefix | undefined;
  /** First three bytes of every VTEP MAC, lower case: `70:b3:d5`. */
  readonly oui: string;
  readonly vtepMtu: number | undefined;
  readonly overlays: readonly OverlaySpace[];
}
