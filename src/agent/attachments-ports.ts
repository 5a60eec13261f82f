/**
 * Ports of the host that lead to containers: who claims which, and the elements in the kernel's maps.
 *
 * A mapping is an element of a map in our nft table (src/overlay/ruleset.ts), so that neither adding one nor a packet's
 * way through depends on how many there are. The table itself is the reconciler's, which also restores elements.
 */
import { ip, parseIp, type IpAddress } from '../base/ip.ts';
import { CniError, cniCodes } from '../cni/errors.ts';
import { elementKey, type NftElement, type NftElementChange, type NftSet } from '../kernel/nft/types.ts';
import { isErrno, type Kernel } from '../kernel/types.ts';
import type { PortMapping } from '../model/endpoint.ts';
import type { Attachment } from '../overlay/desired.ts';
import { portMappingElement } from '../overlay/port-map.ts';
import { TABLE_REF } from '../overlay/ruleset.ts';
import { occupiedPort } from './attachments-listeners.ts';

/** include/uapi/linux/in.h. */
const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const;

function claimKey(mapping: PortMapping): string {
  return `${mapping.protocol}/${mapping.hostPort}`;
}

function overlap(a: PortMapping, b: PortMapping): boolean {
  return a.hostIP === undefined || b.hostIP === undefined || a.hostIP === b.hostIP;
}

export function describeMapping(mapping: PortMapping): string {
  const at = mapping.hostIP === undefined ? '' : ` of ${mapping.hostIP}`;
  return `host port ${mapping.hostPort}/${mapping.protocol}${at}`;
}

/** Claims are taken before anything waits, so that of two ADDs at once one sees the other. */
export class PortClaims {
  /** How people know a holder. */
  readonly #describe: (holder: string) => string;
  readonly #claims = new Map<string, { readonly mapping: PortMapping; readonly holder: string }[]>();

  constructor(describe: (holder: string) => string) {
    this.#describe = describe;
  }

  /** Takes all, or throws and takes none. */
  take(mappings: readonly PortMapping[], holder: string): void {
    this.check(mappings);
    this.hold(mappings, holder);
  }

  /** Throws where another container holds one of them, or one is asked for twice. */
  check(mappings: readonly PortMapping[]): void {
    for (const [i, mapping] of mappings.entries()) {
      const taken = this.#find(mapping);
      const twice = mappings.findIndex(
        (other) => claimKey(other) === claimKey(mapping) && overlap(other, mapping),
      );
      if (taken !== undefined)
        throw new CniError(
          cniCodes.portInUse,
          `Cannot map ${describeMapping(mapping)}: container ${this.#describe(taken)} holds it`,
          'choose another host port, or remove that container',
        );
      if (twice !== i)
        throw new CniError(
          cniCodes.invalidConfig,
          `Cannot map ${describeMapping(mapping)}: it is asked for twice`,
        );
    }
  }

  hold(mappings: readonly PortMapping[], holder: string): void {
    for (const mapping of mappings) {
      const key = claimKey(mapping);
      this.#claims.set(key, [...(this.#claims.get(key) ?? []), { mapping, holder }]);
    }
  }

  release(holder: string, mappings: readonly PortMapping[]): void {
    for (const mapping of mappings) {
      const key = claimKey(mapping);
      const rest = (this.#claims.get(key) ?? []).filter((claim) => claim.holder !== holder);
      if (rest.length > 0) this.#claims.set(key, rest);
      else this.#claims.delete(key);
    }
  }

  #find(mapping: PortMapping): string | undefined {
    return this.#claims.get(claimKey(mapping))?.find((claim) => overlap(claim.mapping, mapping))?.holder;
  }
}

/** Refuses a host port on which a process listens that is not the container's own supervisor. */
export async function refuseOccupiedPorts(
  kernel: Pick<Kernel, 'portPerhapsInUse'>,
  mappings: readonly PortMapping[],
  container: string,
): Promise<void> {
  const occupied = await occupiedPort(kernel, mappings, container);
  if (occupied === undefined) return;
  const who = occupied.process === undefined ? 'a process of this host' : `process ${occupied.process}`;
  throw new CniError(
    cniCodes.portInUse,
    `Cannot map ${describeMapping(occupied.mapping)}: ${who} listens on it`,
    'choose another host port, or stop that process',
  );
}

interface SetElements {
  readonly set: NftSet;
  readonly elements: readonly NftElement[];
}

/** Each mapping once for each of the container's addresses, grouped by the map it belongs to. */
export function portElements(attachment: Attachment): readonly SetElements[] {
  const groups = new Map<string, { readonly set: NftSet; readonly elements: NftElement[] }>();
  for (const mapping of attachment.ports)
    for (const { address } of attachment.addresses) {
      const hostAddress = mapping.hostIP === undefined ? undefined : parseIp(mapping.hostIP);
      if (hostAddress !== undefined && hostAddress.family !== address.family) continue;
      const { set, element } = portMappingElement({
        protocol: protocolNumbers[mapping.protocol],
        hostPort: mapping.hostPort,
        ...(hostAddress === undefined ? {} : { hostAddress }),
        to: address,
        toPort: mapping.containerPort,
      });
      const group = groups.get(set.name) ?? { set, elements: [] };
      group.elements.push(element);
      groups.set(set.name, group);
    }
  return [...groups.values()];
}

/** Puts the elements in. `prepare` makes the table when it is not there yet. */
export async function addPorts(
  kernel: Kernel,
  attachment: Attachment,
  prepare: () => Promise<void>,
): Promise<void> {
  const wanted = portElements(attachment);
  if (wanted.length === 0) return;
  await putElements(kernel, wanted, prepare);
  // Who sent to the port before the container was there goes on to be sent where nobody is, for as long as it sends.
  for (const { protocol, hostPort, hostIP } of attachment.ports)
    if (protocol === 'udp')
      await kernel.deleteConnections({
        ...(hostIP === undefined ? {} : { address: ip(hostIP) }),
        protocol: protocolNumbers.udp,
        port: hostPort,
        untranslated: true,
      });
}

async function putElements(
  kernel: Kernel,
  wanted: readonly SetElements[],
  prepare: () => Promise<void>,
): Promise<void> {
  try {
    await kernel.nft.change(TABLE_REF, wanted.map(addition));
    return;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) await prepare();
    else if (!isErrno(error, 'EEXIST')) throw error;
  }
  // Either the table is new, or an element of a past holder is left: claims say that nobody else has it.
  await correctPorts(kernel, wanted);
}

function addition({ set, elements }: SetElements): NftElementChange {
  return { set, add: elements, remove: [] };
}

async function correctPorts(kernel: Kernel, wanted: readonly SetElements[]): Promise<void> {
  const changes = await Promise.all(
    wanted.map(async ({ set, elements }): Promise<NftElementChange> => {
      const present = await elementsOf(kernel, set);
      const keys = new Set(elements.map(keyOf));
      const exact = new Set(elements.map(elementKey));
      const remove = present.filter((element) => keys.has(keyOf(element)) && !exact.has(elementKey(element)));
      const there = new Set(present.map(elementKey));
      return { set, remove, add: elements.filter((element) => !there.has(elementKey(element))) };
    }),
  );
  const needed = changes.filter(({ add, remove }) => add.length + remove.length > 0);
  if (needed.length > 0) await kernel.nft.change(TABLE_REF, needed);
}

/** Takes the elements out; those that are gone already, or lead elsewhere, are let be. */
export async function removePorts(kernel: Kernel, attachment: Attachment): Promise<void> {
  const unwanted = portElements(attachment);
  if (unwanted.length === 0) return;
  try {
    await kernel.nft.change(
      TABLE_REF,
      unwanted.map(({ set, elements }) => ({ set, add: [], remove: elements })),
    );
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    await removePresent(kernel, unwanted);
  }
  await forgetConnections(kernel, attachment);
}

async function removePresent(kernel: Kernel, unwanted: readonly SetElements[]): Promise<void> {
  for (const { set, elements } of unwanted) {
    const there = new Set((await elementsOf(kernel, set)).map(elementKey));
    const remove = elements.filter((element) => there.has(elementKey(element)));
    if (remove.length > 0) await kernel.nft.change(TABLE_REF, [{ set, add: [], remove }]);
  }
}

/** A UDP connection has no end: its translation would lead to whoever gets the address next. */
async function forgetConnections(kernel: Kernel, attachment: Attachment): Promise<void> {
  for (const mapping of attachment.ports)
    if (mapping.protocol === 'udp')
      for (const { address } of attachment.addresses) await forgetUdp(kernel, address, mapping.containerPort);
}

async function forgetUdp(kernel: Kernel, address: IpAddress, port: number): Promise<void> {
  await kernel.deleteConnections({ address, port, protocol: protocolNumbers.udp });
}

/** Mappings whose elements are not in the kernel as they should be. */
export async function missingPorts(kernel: Kernel, attachment: Attachment): Promise<readonly string[]> {
  const missing: string[] = [];
  for (const { set, elements } of portElements(attachment)) {
    const there = new Set((await elementsOf(kernel, set)).map(elementKey));
    for (const element of elements)
      if (!there.has(elementKey(element))) missing.push(`${set.name} ${elementKey(element)}`);
  }
  return missing;
}

function keyOf(element: NftElement): string {
  return elementKey({ key: element.key });
}

async function elementsOf(kernel: Kernel, set: NftSet): Promise<readonly NftElement[]> {
  return (await kernel.nft.elements(TABLE_REF, set)) ?? [];
}
