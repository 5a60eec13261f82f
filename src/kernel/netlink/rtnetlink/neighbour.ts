/** Neighbours (ARP, NDP): struct ndmsg and NDA_* (include/uapi/linux/neighbour.h). */
import { macFromBytes } from '../../../base/mac.ts';
import { PROTOCOL_PORTOLAN, type Neighbour } from '../../types.ts';
import {
  Attributes,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  type Message,
  type MessageWriter,
} from '../message.ts';
import {
  AF_INET,
  AF_INET6,
  familyNumber,
  RTM_DELNEIGH,
  RTM_GETNEIGH,
  RTM_NEWNEIGH,
  type NameOf,
} from './constants.ts';

const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_IFINDEX = 8;
const NDA_PROTOCOL = 12;
const NUD_REACHABLE = 0x02;
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;
const NDMSG_BYTES = 12;

/** The fixed part that neighbours and forwarding entries share; `flags` are NTF_*. */
export function ndmsg(
  writer: MessageWriter,
  family: number,
  linkIndex: number,
  state: number,
  flags: number,
): void {
  writer.raw32x3(family, linkIndex, state | (flags << 16));
}

export function encodeNeighbour(
  writer: MessageWriter,
  sequence: number,
  what: 'replace' | 'delete',
  neighbour: Neighbour,
  linkIndex: number,
): void {
  const replace = what === 'replace';
  const flags = replace ? NLM_F_CREATE | NLM_F_REPLACE : 0;
  writer.begin(replace ? RTM_NEWNEIGH : RTM_DELNEIGH, NLM_F_REQUEST | flags, sequence);
  const state = !replace ? 0 : neighbour.permanent ? NUD_PERMANENT : NUD_REACHABLE;
  ndmsg(writer, familyNumber(neighbour.address.family), linkIndex, state, 0);
  writer.attributeIp(NDA_DST, neighbour.address);
  if (replace) {
    if (neighbour.mac !== undefined) writer.attributeMac(NDA_LLADDR, neighbour.mac);
    writer.attributeU8(NDA_PROTOCOL, PROTOCOL_PORTOLAN);
  }
  writer.end();
}

/** `linkIndex` 0 = of all links. In strict requests the index is an attribute (neigh_valid_dump_req). */
export function encodeNeighbourDump(
  writer: MessageWriter,
  sequence: number,
  family: 4 | 6,
  linkIndex: number,
): void {
  writer.begin(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, sequence);
  ndmsg(writer, familyNumber(family), 0, 0, 0);
  if (linkIndex !== 0) writer.attributeU32(NDA_IFINDEX, linkIndex);
  writer.end();
}

/** Entries that need no resolution (multicast, loopback: NUD_NOARP) are left out, as `ip neigh` does. */
export class NeighbourDecoder {
  readonly #attributes = new Attributes();

  decode(buffer: Buffer, message: Message, nameOf: NameOf): Neighbour | undefined {
    const { start, end } = message;
    if (end - start < NDMSG_BYTES) return undefined;
    const family = buffer.readUInt8(start);
    const state = buffer.readUInt16LE(start + 8);
    if ((family !== AF_INET && family !== AF_INET6) || (state & NUD_NOARP) !== 0) return undefined;
    const attributes = this.#attributes.parse(buffer, start + NDMSG_BYTES, end);
    const address = attributes.ip(NDA_DST);
    if (address === undefined || (address.family === 4) !== (family === AF_INET)) return undefined;
    const link = nameOf(buffer.readUInt32LE(start + 4));
    if (link === undefined) return undefined;
    const hardware = attributes.range(NDA_LLADDR);
    const mac =
      hardware !== undefined && hardware.end - hardware.start === 6
        ? macFromBytes(buffer, hardware.start)
        : undefined;
    return { link, address, mac, permanent: (state & NUD_PERMANENT) !== 0 };
  }
}
