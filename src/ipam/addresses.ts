/**
 * Addresses of one subnet, given to containers one at a time.
 *
 * Purpose: which address a new container gets. Pure: the caller keeps what was given (journal) and restores it here.
 * Invariants: never the network, the gateway or (IPv4) the broadcast address; never one that is held; the next address
 * is searched onward from the last one given, and one that was released comes back only when no address that was
 * never released is left, the longest-released first. So a peer's stale neighbour entry or connection does not meet a
 * new container.
 * Review notes: a step of the search skips one held or quarantined address; there are never more steps than those.
 */
import { PortolanError } from '../base/errors.ts';
import type { IpAddress, Prefix } from '../base/ip.ts';

/** How many released addresses are remembered; older ones count as never used, but lie farthest from the search. */
export const MAX_QUARANTINE = 1024;

export interface AddressPoolInit {
  readonly subnet: Prefix;
  readonly gateway: IpAddress;
}

export class AddressPool {
  readonly subnet: Prefix;
  readonly gateway: IpAddress;
  /** Offsets from the network address. */
  readonly #holders = new Map<bigint, string>();
  /** In order of release: sets keep the order of insertion. */
  readonly #quarantine = new Set<bigint>();
  readonly #first = 1n;
  readonly #last: bigint;
  readonly #gatewayOffset: bigint;
  #next: bigint;

  constructor(init: AddressPoolInit) {
    this.subnet = init.subnet;
    this.gateway = init.gateway;
    // IPv6 has no broadcast; its network address is the subnet-router anycast address (RFC 4291, 2.6.1).
    this.#last = init.subnet.size - (init.subnet.family === 4 ? 2n : 1n);
    this.#gatewayOffset = init.gateway.value - init.subnet.network.value;
    this.#next = this.#first;
  }

  /** How many addresses containers can hold at all. */
  get capacity(): bigint {
    const hosts = this.#last - this.#first + 1n;
    if (hosts <= 0n) return 0n;
    return this.#isHost(this.#gatewayOffset) ? hosts - 1n : hosts;
  }

  get held(): number {
    return this.#holders.size;
  }

  holder(address: IpAddress): string | undefined {
    return this.subnet.contains(address) ? this.#holders.get(this.#offset(address)) : undefined;
  }

  /** The next free address, now held by `holder`. */
  allocate(holder: string): IpAddress {
    const offset = this.#nextFresh() ?? this.#longestReleased();
    if (offset === undefined)
      throw new PortolanError('exhausted', `All ${this.capacity} addresses of ${this.subnet} are in use`, {
        remedy: 'remove containers, or give the overlay a shorter prefix so that agents get larger blocks',
      });
    this.#hold(offset, holder);
    this.#next = offset + 1n;
    return this.#address(offset);
  }

  /** Exactly `address`, or an error that says why not. */
  reserve(address: IpAddress, holder: string): void {
    if (!this.subnet.contains(address))
      throw new PortolanError('invalid', `Address ${address} is outside of ${this.subnet}`, {
        remedy: 'ask for an address of this host, or for none',
      });
    const offset = this.#offset(address);
    if (!this.#isHost(offset) || offset === this.#gatewayOffset)
      throw new PortolanError(
        'invalid',
        `Address ${address} is the ${this.#role(offset)} address of ${this.subnet}`,
      );
    const other = this.#holders.get(offset);
    if (other !== undefined)
      throw new PortolanError('conflict', `Address ${address} is in use by container "${other}"`);
    this.#hold(offset, holder);
  }

  /** Takes back into account what was given before a restart; an address of an earlier block is not this pool's. */
  restore(address: IpAddress, holder: string): void {
    if (!this.subnet.contains(address)) return;
    const offset = this.#offset(address);
    this.#hold(offset, holder);
    if (offset >= this.#next) this.#next = offset + 1n;
  }

  /** Like `restore`, of an address that was released before a restart; in order of release. */
  restoreReleased(address: IpAddress): void {
    if (!this.subnet.contains(address)) return;
    const offset = this.#offset(address);
    if (this.#holders.has(offset)) return;
    this.#addToQuarantine(offset);
    if (offset >= this.#next) this.#next = offset + 1n;
  }

  /** True when it was held by `holder` and now is free; a second release changes nothing. */
  release(address: IpAddress, holder: string): boolean {
    if (this.holder(address) !== holder) return false;
    const offset = this.#offset(address);
    this.#holders.delete(offset);
    this.#addToQuarantine(offset);
    return true;
  }

  get exhausted(): boolean {
    return this.free === 0n;
  }

  /** How many more containers can have one. */
  get free(): bigint {
    return this.capacity - BigInt(this.#heldHosts());
  }

  #hold(offset: bigint, holder: string): void {
    this.#holders.set(offset, holder);
    this.#quarantine.delete(offset);
  }

  #addToQuarantine(offset: bigint): void {
    if (!this.#isHost(offset) || offset === this.#gatewayOffset) return;
    this.#quarantine.delete(offset);
    this.#quarantine.add(offset);
    if (this.#quarantine.size <= MAX_QUARANTINE) return;
    const oldest = this.#longestReleased();
    if (oldest !== undefined) this.#quarantine.delete(oldest);
  }

  /** Restored attachments may hold what is no host address any more (the gateway moved): they take no room. */
  #heldHosts(): number {
    let held = this.#holders.size;
    for (const odd of [0n, this.#gatewayOffset, this.#last + 1n]) if (this.#holders.has(odd)) held--;
    return held;
  }

  #longestReleased(): bigint | undefined {
    return this.#quarantine.values().next().value;
  }

  #nextFresh(): bigint | undefined {
    if (this.free <= BigInt(this.#quarantine.size)) return undefined;
    let offset = this.#next;
    for (;;) {
      if (offset > this.#last) offset = this.#first;
      const taken = this.#holders.has(offset) || this.#quarantine.has(offset);
      if (!taken && offset !== this.#gatewayOffset) return offset;
      offset += 1n;
    }
  }

  #isHost(offset: bigint): boolean {
    return offset >= this.#first && offset <= this.#last;
  }

  #role(offset: bigint): string {
    if (offset === this.#gatewayOffset) return 'gateway';
    return offset === 0n ? 'network' : 'broadcast';
  }

  #offset(address: IpAddress): bigint {
    return address.value - this.subnet.network.value;
  }

  #address(offset: bigint): IpAddress {
    const address = this.subnet.at(offset);
    if (address === undefined)
      throw new PortolanError('internal', `Offset ${offset} is outside of ${this.subnet}`);
    return address;
  }
}
