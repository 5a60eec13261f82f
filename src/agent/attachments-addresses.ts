/**
 * The addresses of this agent's own blocks: one pool for each subnet of each network, kept in step with the journal.
 *
 * The journal holds what is held (in the attachments) and, in order, what was released lately; this turns both into
 * pools and tells which journal keys an allocation or a release changes.
 */
import { isPortolanError } from '../base/errors.ts';
import { InterfaceAddress, parseIp, type IpAddress, type Prefix } from '../base/ip.ts';
import { CniError, cniCodes } from '../cni/errors.ts';
import { AddressPool, MAX_QUARANTINE } from '../ipam/addresses.ts';
import type { Journal } from '../store/types.ts';

const RELEASED_KEYS = 'released/';

export interface Subnet {
  readonly subnet: Prefix;
  readonly gateway: IpAddress;
}

export interface Allocated {
  readonly address: InterfaceAddress;
  readonly gateway: IpAddress;
}

type Changes = Record<string, unknown>;

export class AttachmentAddresses {
  readonly #pools = new Map<string, AddressPool>();
  /** Everything held, for pools that come into being later. */
  readonly #held = new Map<string, { readonly address: IpAddress; readonly holder: string }>();
  /** Address -> number of its release, in order of release. */
  readonly #released = new Map<string, number>();
  #sequence = 0;

  /** Reads what was released before a restart. */
  load(journal: Journal): void {
    const released = Array.from(journal.entries(RELEASED_KEYS), ([key, value]) => {
      return { address: key.slice(RELEASED_KEYS.length), sequence: Number(value) };
    });
    released.sort((a, b) => a.sequence - b.sequence);
    for (const { address, sequence } of released) {
      this.#released.set(address, sequence);
      this.#sequence = Math.max(this.#sequence, sequence);
    }
  }

  hold(address: IpAddress, holder: string): void {
    this.#held.set(String(address), { address, holder });
  }

  /** One address of each subnet: the one asked for where there is one. Takes all or none. */
  allocate(
    subnets: readonly Subnet[],
    requested: readonly IpAddress[],
    holder: string,
  ): readonly Allocated[] {
    const unused = requested.filter(
      (address, i) =>
        !subnets.some(({ subnet }) => subnet.family === address.family) ||
        requested.findIndex((other) => other.family === address.family) !== i,
    );
    if (unused[0] !== undefined)
      throw new CniError(
        cniCodes.invalidConfig,
        `Requested address ${unused[0]} has no place: the network gives one address of each of its families`,
        `its subnets are ${subnets.map(({ subnet }) => subnet.toString()).join(', ')}`,
      );
    const taken: Allocated[] = [];
    try {
      for (const { subnet, gateway } of subnets) {
        const wanted = requested.find((address) => address.family === subnet.family);
        const address = this.#take(this.#pool({ subnet, gateway }), wanted, holder);
        taken.push({ address: new InterfaceAddress(address, subnet.length), gateway });
      }
    } catch (error) {
      for (const { address } of taken) this.#forget(address.address, holder);
      throw asCniError(error);
    }
    return taken;
  }

  /** The journal's changes that go with an allocation. */
  allocationChanges(addresses: readonly IpAddress[]): Changes {
    const changes: Changes = {};
    for (const address of addresses)
      if (this.#released.delete(String(address))) changes[`${RELEASED_KEYS}${address}`] = undefined;
    return changes;
  }

  /** The journal's changes that go with a release; the release itself follows when they are on disk. */
  releaseChanges(addresses: readonly IpAddress[]): Changes {
    const changes: Changes = {};
    for (const address of addresses) {
      this.#released.delete(String(address));
      this.#released.set(String(address), ++this.#sequence);
      changes[`${RELEASED_KEYS}${address}`] = this.#sequence;
    }
    for (const [address] of this.#released) {
      if (this.#released.size <= MAX_QUARANTINE) break;
      this.#released.delete(address);
      changes[`${RELEASED_KEYS}${address}`] = undefined;
    }
    return changes;
  }

  release(addresses: readonly IpAddress[], holder: string): void {
    for (const address of addresses) this.#forget(address, holder);
  }

  exhausted(subnets: readonly Subnet[]): Prefix | undefined {
    return subnets.find((subnet) => this.#pool(subnet).exhausted)?.subnet;
  }

  free(subnets: readonly Subnet[]): number {
    const counts = subnets.map((subnet) => this.#pool(subnet).free);
    return counts.length === 0 ? 0 : Math.min(...counts.map(Number));
  }

  #take(pool: AddressPool, wanted: IpAddress | undefined, holder: string): IpAddress {
    if (wanted !== undefined) pool.reserve(wanted, holder);
    const address = wanted ?? pool.allocate(holder);
    this.hold(address, holder);
    return address;
  }

  #forget(address: IpAddress, holder: string): void {
    if (this.#held.get(String(address))?.holder !== holder) return;
    this.#held.delete(String(address));
    for (const pool of this.#pools.values()) if (pool.subnet.contains(address)) pool.release(address, holder);
  }

  #pool(init: Subnet): AddressPool {
    const key = `${init.subnet} ${init.gateway}`;
    let pool = this.#pools.get(key);
    if (pool !== undefined) return pool;
    pool = new AddressPool(init);
    for (const { address, holder } of this.#held.values()) pool.restore(address, holder);
    for (const text of this.#released.keys()) {
      const address = parseIp(text);
      if (address !== undefined) pool.restoreReleased(address);
    }
    // A block that was replaced leaves its pool behind: the newest few are all that can be in use.
    if (this.#pools.size >= MAX_POOLS) this.#pools.clear();
    this.#pools.set(key, pool);
    return pool;
  }
}

/** Far above two families of every overlay an agent has. */
const MAX_POOLS = 4096;

function asCniError(error: unknown): unknown {
  if (!isPortolanError(error)) return error;
  const codes = {
    conflict: cniCodes.addressInUse,
    exhausted: cniCodes.addressesExhausted,
    invalid: cniCodes.invalidConfig,
  };
  const code = error.code in codes ? codes[error.code as keyof typeof codes] : cniCodes.internal;
  return new CniError(code, error.message, error.remedy);
}
