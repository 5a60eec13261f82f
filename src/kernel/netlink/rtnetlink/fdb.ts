/** Forwarding entries of VXLAN devices: AF_BRIDGE neighbours with NTF_SELF (drivers/net/vxlan/vxlan_core.c). */
import { macFromBytes } from '../../../base/mac.ts';
import type { FdbEntry } from '../../types.ts';
import {
  Attributes,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  type Message,
  type MessageWriter,
} from '../message.ts';
import { AF_BRIDGE, RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH, type NameOf } from './constants.ts';
import { ndmsg } from './neighbour.ts';

const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_IFINDEX = 8;
const NUD_REACHABLE = 0x02;
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;
const NTF_SELF = 2;
const NDMSG_BYTES = 12;

export function encodeFdb(
  writer: MessageWriter,
  sequence: number,
  what: 'replace' | 'delete',
  entry: FdbEntry,
  linkIndex: number,
): void {
  const replace = what === 'replace';
  const flags = replace ? NLM_F_CREATE | NLM_F_REPLACE : 0;
  writer.begin(replace ? RTM_NEWNEIGH : RTM_DELNEIGH, NLM_F_REQUEST | flags, sequence);
  const state = entry.permanent ? NUD_PERMANENT | NUD_NOARP : NUD_REACHABLE | NUD_NOARP;
  ndmsg(writer, AF_BRIDGE, linkIndex, state, NTF_SELF);
  writer.attributeMac(NDA_LLADDR, entry.mac);
  writer.attributeIp(NDA_DST, entry.destination);
  writer.end();
}

export function encodeFdbDump(writer: MessageWriter, sequence: number, linkIndex: number): void {
  writer.begin(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, sequence);
  ndmsg(writer, AF_BRIDGE, 0, 0, 0);
  writer.attributeU32(NDA_IFINDEX, linkIndex);
  writer.end();
}

/** Entries without an outer destination belong to a bridge's own table: `undefined`. */
export class FdbDecoder {
  readonly #attributes = new Attributes();

  decode(buffer: Buffer, message: Message, nameOf: NameOf): FdbEntry | undefined {
    const { start, end } = message;
    if (end - start < NDMSG_BYTES || buffer.readUInt8(start) !== AF_BRIDGE) return undefined;
    if ((buffer.readUInt8(start + 10) & NTF_SELF) === 0) return undefined;
    const attributes = this.#attributes.parse(buffer, start + NDMSG_BYTES, end);
    const hardware = attributes.range(NDA_LLADDR);
    const destination = attributes.ip(NDA_DST);
    if (destination === undefined || hardware === undefined || hardware.end - hardware.start !== 6)
      return undefined;
    const link = nameOf(buffer.readUInt32LE(start + 4));
    if (link === undefined) return undefined;
    const permanent = (buffer.readUInt16LE(start + 8) & NUD_PERMANENT) !== 0;
    return { link, mac: macFromBytes(buffer, hardware.start), destination, permanent };
  }
}
