/**
 * Which node holds which VTEP and blocks (reference "overlay network", section 3).
 *
 * Purpose: the lowest free VTEP address, IPv6 VTEP address and agent subnets, taken and given back.
 * Invariants: no address has two holders; whatever is taken for a grant that does not come about is given back (the
 * old system leaked the IPv4 part when the IPv6 part failed); each part of a grant goes back exactly once; the
 * network and broadcast addresses of the VTEP network are never given.
 * Review notes: pure bookkeeping. Durability is the caller's: it commits a grant before it answers, and after a failed
 * commit it forgets this pool and recovers another from the store.
 */
import { assert } from '../base/assert.ts';
import { InterfaceAddress, Prefix, type Family } from '../base/ip.ts';
import type { FamilySpace, NetworkSpace, OverlaySpace } from '../model/network-space.ts';
import type { AgentNetworkConfig } from '../model/overlay.ts';
import { vtepMac, type Grant, type OverlayBlock } from './grant.ts';
import { Slots } from './slots.ts';

export type Wishes = Pick<AgentNetworkConfig, 'allocate_subnet' | 'mesos_bridge' | 'docker_bridge'>;

/** Something that could not be given: a VTEP address, or a block of `overlay`. */
export interface Shortage {
  readonly family: Family;
  /** Absent: the VTEP network is full. */
  readonly overlay?: string;
}

export type Allocation =
  | {
      readonly ok: true;
      readonly grant: Grant;
      /** False when the node held all this before. */
      readonly changed: boolean;
      readonly shortages: readonly Shortage[];
    }
  | { readonly ok: false; readonly shortages: readonly Shortage[] };

/** Why a stored grant does not fit the present configuration. */
export interface Misfit {
  readonly what: string;
  readonly overlay?: string;
  readonly reason: 'vanished' | 'outside' | 'taken';
}

/** One address space cut into pieces of one length. */
class Pieces {
  readonly space: Prefix;
  readonly length: number;
  readonly slots: Slots;

  constructor({ space, length }: FamilySpace, first = 0n, end = space.subnetCount(length)) {
    this.space = space;
    this.length = length;
    this.slots = new Slots(first, end);
  }

  take(): Prefix | undefined {
    const index = this.slots.take();
    return index === undefined ? undefined : this.space.subnet(this.length, index);
  }

  fits(piece: Prefix): boolean {
    return piece.length === this.length && this.space.contains(piece.network);
  }

  index(piece: Prefix): bigint {
    const width = piece.family === 4 ? 32 : 128;
    return (piece.network.value - this.space.network.value) >> BigInt(width - this.length);
  }
}

interface OverlayPieces {
  readonly v4: Pieces | undefined;
  readonly v6: Pieces | undefined;
}

export class BlockPool {
  readonly network: NetworkSpace;
  readonly #vtep: Pieces;
  readonly #vtep6: Pieces | undefined;
  readonly #overlays: ReadonlyMap<string, OverlayPieces>;

  constructor(network: NetworkSpace) {
    this.network = network;
    // Network and broadcast address are no host's; IPv6 has no broadcast (RFC 4291, 2.6.1 keeps the first).
    this.#vtep = new Pieces({ space: network.vtep, length: 32 }, 1n, network.vtep.size - 1n);
    this.#vtep6 =
      network.vtep6 === undefined ? undefined : new Pieces({ space: network.vtep6, length: 128 }, 1n);
    const pieces = (space: FamilySpace | undefined) => (space === undefined ? undefined : new Pieces(space));
    this.#overlays = new Map(
      network.overlays.map((each) => [each.name, { v4: pieces(each.v4), v6: pieces(each.v6) }]),
    );
  }

  /**
   * Gives a node what it lacks: everything when `held` is absent, else a block in each overlay that is enabled and
   * new to it, the family that an overlay has gained, and an IPv6 VTEP address where there is a network for it now.
   * Refuses only a new node for which no VTEP address is left; a full overlay is merely left out.
   */
  allocate(wishes: Wishes, held?: Grant): Allocation {
    const shortages: Shortage[] = [];
    const vtep = this.#allocateVtep(held, shortages);
    if (vtep === undefined) return { ok: false, shortages };
    const overlays = this.#allocateOverlays(wishes, held?.overlays ?? [], shortages);
    const changed =
      vtep.vtepIp6 !== held?.vtepIp6 ||
      overlays.length !== held?.overlays.length ||
      overlays.some((block, i) => block !== held.overlays[i]);
    return { ok: true, grant: changed ? { ...vtep, overlays } : (held as Grant), changed, shortages };
  }

  #allocateVtep(held: Grant | undefined, shortages: Shortage[]): Omit<Grant, 'overlays'> | undefined {
    const vtepIp = held?.vtepIp ?? vtepAddress(this.#vtep);
    if (vtepIp === undefined) {
      shortages.push({ family: 4 });
      return undefined;
    }
    const vtepIp6 = held?.vtepIp6 ?? vtepAddress(this.#vtep6);
    if (vtepIp6 === undefined && this.#vtep6 !== undefined) {
      shortages.push({ family: 6 });
      if (held === undefined) {
        this.#vtep.slots.release(this.#vtep.index(new Prefix(vtepIp.address, 32)));
        return undefined;
      }
    }
    const mac = held?.vtepMac ?? vtepMac(this.network.oui, vtepIp.address);
    return { vtepIp, ...(vtepIp6 === undefined ? {} : { vtepIp6 }), vtepMac: mac };
  }

  /** Blocks that are held keep their place, new ones follow. */
  #allocateOverlays(
    wishes: Wishes,
    held: readonly OverlayBlock[],
    shortages: Shortage[],
  ): readonly OverlayBlock[] {
    const spaces = new Map(this.network.overlays.map((space) => [space.name, space]));
    const kept = held.map((block) => {
      const space = spaces.get(block.overlay);
      return space === undefined ? block : this.#complete(space, block, shortages);
    });
    const known = new Set(held.map(({ overlay }) => overlay));
    const added = this.network.overlays
      .filter(({ name, enabled }) => enabled && !known.has(name))
      .map((space) => this.#allocateBlock(space, wishes, shortages));
    return [...kept, ...added.filter((block) => block !== undefined)];
  }

  #allocateBlock(space: OverlaySpace, wishes: Wishes, shortages: Shortage[]): OverlayBlock | undefined {
    if (!wishes.allocate_subnet) return { overlay: space.name, mesosBridge: false, dockerBridge: false };
    const { v4, v6 } = this.#pieces(space.name);
    const subnet = v4?.take();
    if (subnet === undefined && v4 !== undefined) {
      shortages.push({ family: 4, overlay: space.name });
      return undefined;
    }
    const subnet6 = v6?.take();
    if (subnet6 === undefined && v6 !== undefined) {
      shortages.push({ family: 6, overlay: space.name });
      if (v4 !== undefined && subnet !== undefined) v4.slots.release(v4.index(subnet));
      return undefined;
    }
    return {
      overlay: space.name,
      ...(subnet === undefined ? {} : { subnet }),
      ...(subnet6 === undefined ? {} : { subnet6 }),
      mesosBridge: wishes.mesos_bridge,
      dockerBridge: wishes.docker_bridge,
    };
  }

  /** Adds the family that the overlay has gained since; a mere gateway stays one, as its agent asked. */
  #complete(space: OverlaySpace, block: OverlayBlock, shortages: Shortage[]): OverlayBlock {
    if (!space.enabled || (block.subnet === undefined && block.subnet6 === undefined)) return block;
    const { v4, v6 } = this.#pieces(space.name);
    const subnet = block.subnet ?? v4?.take();
    if (subnet === undefined && v4 !== undefined) shortages.push({ family: 4, overlay: space.name });
    const subnet6 = block.subnet6 ?? v6?.take();
    if (subnet6 === undefined && v6 !== undefined) shortages.push({ family: 6, overlay: space.name });
    if (subnet === block.subnet && subnet6 === block.subnet6) return block;
    return {
      ...block,
      ...(subnet === undefined ? {} : { subnet }),
      ...(subnet6 === undefined ? {} : { subnet6 }),
    };
  }

  /** Takes every part of a stored grant, or none of it and says what does not fit. */
  reserve(grant: Grant): readonly Misfit[] {
    const taken: Part[] = [];
    const misfits: Misfit[] = [];
    for (const part of this.#parts(grant)) {
      const reason = misfit(part);
      if (reason === undefined) taken.push(part);
      else misfits.push({ what: String(part.piece), reason, ...named(part.overlay) });
    }
    if (misfits.length > 0) for (const { pieces, piece } of taken) pieces?.slots.release(pieces.index(piece));
    return misfits;
  }

  /** Gives every part of a grant back. */
  release(grant: Grant): void {
    for (const { pieces, piece } of this.#parts(grant)) {
      assert(pieces !== undefined, `a space to give ${String(piece)} back to`);
      pieces.slots.release(pieces.index(piece));
    }
  }

  /** How many blocks of an overlay, or VTEP addresses, are held and free: the scarcer family counts. */
  usage(overlay?: string): { readonly held: number; readonly free: bigint } {
    const { v4, v6 } = overlay === undefined ? { v4: this.#vtep, v6: this.#vtep6 } : this.#pieces(overlay);
    const slots = [v4, v6].filter((pieces) => pieces !== undefined).map((pieces) => pieces.slots);
    const free = slots.map(({ freeCount }) => freeCount);
    return {
      held: Math.max(0, ...slots.map(({ takenCount }) => takenCount)),
      free: free.reduce((least, each) => (each < least ? each : least), free[0] ?? 0n),
    };
  }

  #pieces(overlay: string): OverlayPieces {
    return this.#overlays.get(overlay) ?? { v4: undefined, v6: undefined };
  }

  #parts(grant: Grant): readonly Part[] {
    const { vtepIp, vtepIp6 } = grant;
    const vteps = [
      part(this.#vtep, new Prefix(vtepIp.address, 32), vtepIp.length === this.network.vtep.length),
    ];
    if (vtepIp6 !== undefined) {
      const fits = vtepIp6.length === this.network.vtep6?.length;
      vteps.push(part(this.#vtep6, new Prefix(vtepIp6.address, 128), fits));
    }
    const blocks = grant.overlays.flatMap(({ overlay, subnet, subnet6 }) => {
      const { v4, v6 } = this.#pieces(overlay);
      return [
        ...(subnet === undefined ? [] : [part(v4, subnet, true, overlay)]),
        ...(subnet6 === undefined ? [] : [part(v6, subnet6, true, overlay)]),
      ];
    });
    return [...vteps, ...blocks];
  }
}

interface Part {
  /** `undefined`: the configuration has no such space any more. */
  readonly pieces: Pieces | undefined;
  readonly piece: Prefix;
  readonly sameLength: boolean;
  readonly overlay: string | undefined;
}

function part(pieces: Pieces | undefined, piece: Prefix, sameLength: boolean, overlay?: string): Part {
  return { pieces, piece, sameLength, overlay };
}

function misfit({ pieces, piece, sameLength }: Part): Misfit['reason'] | undefined {
  if (pieces === undefined) return 'vanished';
  if (!sameLength || !pieces.fits(piece)) return 'outside';
  return pieces.slots.reserve(pieces.index(piece)) ? undefined : 'taken';
}

function named(overlay: string | undefined): { overlay?: string } {
  return overlay === undefined ? {} : { overlay };
}

function vtepAddress(pieces: Pieces | undefined): InterfaceAddress | undefined {
  const piece = pieces?.take();
  return pieces === undefined || piece === undefined
    ? undefined
    : new InterfaceAddress(piece.network, pieces.space.length);
}
