/** Links: struct ifinfomsg and IFLA_* (include/uapi/linux/if_link.h, veth.h). */
import { macFromBytes } from '../../../base/mac.ts';
import type { Link, LinkDetails, LinkSettings, NewLink } from '../../types.ts';
import {
  Attributes,
  forEachAttribute,
  NLA_F_NESTED,
  NLM_F_ACK,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REQUEST,
  readString,
  type Message,
  type MessageWriter,
} from '../message.ts';
import {
  AF_BRIDGE,
  AF_INET6,
  AF_UNSPEC,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
  RTM_NEWLINKPROP,
  RTM_SETLINK,
} from './constants.ts';

export const IFF_UP = 1;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_PROTINFO = 12;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_AF_SPEC = 26;
const IFLA_GROUP = 27;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const IFLA_NUM_TX_QUEUES = 31;
const IFLA_NUM_RX_QUEUES = 32;
const IFLA_PROP_LIST = 52;
const IFLA_ALT_IFNAME = 53;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFLA_VXLAN_ID = 1;
const IFLA_VXLAN_LOCAL = 4;
const IFLA_VXLAN_TTL = 5;
const IFLA_VXLAN_LEARNING = 7;
const IFLA_VXLAN_PORT = 15;
const IFLA_VXLAN_LOCAL6 = 17;
const IFLA_BR_MCAST_SNOOPING = 23;
const IFLA_BRPORT_MODE = 4;
const IFLA_INET6_ADDR_GEN_MODE = 8;
/** enum in6_addr_gen_mode. */
const IN6_ADDR_GEN_MODE_EUI64 = 0;
const IN6_ADDR_GEN_MODE_NONE = 1;
/** Leaves the statistics out of an answer: they are most of its bytes. */
const RTEXT_FILTER_SKIP_STATS = 8;
const IFINFO_BYTES = 16;

const SET = NLM_F_REQUEST | NLM_F_ACK;

/** What a message about a link needs beside the operation itself: indexes and descriptors, looked up by the caller. */
export interface LinkReferences {
  /** Index of the link named as master; 0 = none. */
  readonly masterIndex?: number;
  /** Descriptor of the namespace for the peer, or for the link itself. */
  readonly namespaceFd?: number;
}

function ifinfo(
  writer: MessageWriter,
  init: {
    readonly family?: number;
    readonly index?: number;
    readonly flags?: number;
    readonly change?: number;
  },
): void {
  writer.raw8(init.family ?? AF_UNSPEC);
  writer.raw8(0);
  writer.raw16(0);
  writer.raw32(init.index ?? 0);
  writer.raw32(init.flags ?? 0);
  writer.raw32(init.change ?? 0);
}

function upFlags(settings: LinkSettings): { flags: number; change: number } {
  return settings.up === undefined
    ? { flags: 0, change: 0 }
    : { flags: settings.up ? IFF_UP : 0, change: IFF_UP };
}

/** The attributes that creation and change share. */
function commonAttributes(writer: MessageWriter, settings: LinkSettings, references: LinkReferences): void {
  if (settings.mtu !== undefined) writer.attributeU32(IFLA_MTU, settings.mtu);
  if (settings.mac !== undefined) writer.attributeMac(IFLA_ADDRESS, settings.mac);
  if (settings.group !== undefined) writer.attributeU32(IFLA_GROUP, settings.group);
  if (settings.master !== undefined) writer.attributeU32(IFLA_MASTER, references.masterIndex ?? 0);
}

/** `ip link add`. Alias, alternative name and hairpin are no part of a creation: messages of their own. */
export function encodeLinkAdd(
  writer: MessageWriter,
  sequence: number,
  name: string,
  link: NewLink,
  settings: LinkSettings,
  references: LinkReferences,
): void {
  writer.begin(RTM_NEWLINK, SET | NLM_F_CREATE | NLM_F_EXCL, sequence);
  ifinfo(writer, upFlags(settings));
  writer.attributeString(IFLA_IFNAME, name);
  if (link.kind === 'veth') encodeOneQueue(writer);
  commonAttributes(writer, settings, references);
  const info = writer.beginNest(IFLA_LINKINFO);
  writer.attributeString(IFLA_INFO_KIND, link.kind);
  encodeKind(writer, link, references);
  writer.endNest(info);
  writer.end();
}

/**
 * The kernel's default is a queue for each possible CPU, with its objects in sysfs: a third of the time that making a
 * pair takes on two CPUs, and most of it on large hosts. A veth's transmission takes no lock, so one loses nothing.
 */
function encodeOneQueue(writer: MessageWriter): void {
  writer.attributeU32(IFLA_NUM_TX_QUEUES, 1);
  writer.attributeU32(IFLA_NUM_RX_QUEUES, 1);
}

function encodeKind(writer: MessageWriter, link: NewLink, references: LinkReferences): void {
  const data = writer.beginNest(IFLA_INFO_DATA);
  if (link.kind === 'bridge') {
    // Where no port is a multicast querier, snooping has no effect but that every new port re-arms a timer of each other.
    writer.attributeU8(IFLA_BR_MCAST_SNOOPING, 0);
  } else if (link.kind === 'vxlan') {
    writer.attributeU32(IFLA_VXLAN_ID, link.vni);
    writer.attributeIp(link.local.family === 4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, link.local);
    writer.attributeU8(IFLA_VXLAN_TTL, 0);
    writer.attributeU8(IFLA_VXLAN_LEARNING, link.learning ? 1 : 0);
    writer.attributeU16be(IFLA_VXLAN_PORT, link.port);
  } else {
    const peer = writer.beginNest(VETH_INFO_PEER);
    ifinfo(writer, {});
    writer.attributeString(IFLA_IFNAME, link.peer.name);
    encodeOneQueue(writer);
    if (link.peer.mtu !== undefined) writer.attributeU32(IFLA_MTU, link.peer.mtu);
    if (link.peer.mac !== undefined) writer.attributeMac(IFLA_ADDRESS, link.peer.mac);
    if (references.namespaceFd !== undefined) writer.attributeU32(IFLA_NET_NS_FD, references.namespaceFd);
    writer.endNest(peer);
  }
  writer.endNest(data);
}

/** `ip link set`, everything that goes into one message; without settings it only takes the kernel's lock. */
export function encodeLinkSet(
  writer: MessageWriter,
  sequence: number,
  index: number,
  settings: LinkSettings,
  references: LinkReferences,
): void {
  writer.begin(RTM_NEWLINK, SET, sequence);
  ifinfo(writer, { index, ...upFlags(settings) });
  commonAttributes(writer, settings, references);
  if (settings.alias !== undefined) writer.attributeString(IFLA_IFALIAS, settings.alias);
  if (settings.rename !== undefined) writer.attributeString(IFLA_IFNAME, settings.rename);
  if (settings.ipv6LinkLocal !== undefined) encodeAddressGeneration(writer, settings.ipv6LinkLocal);
  writer.end();
}

/** `ip link set X addrgenmode eui64|none`. */
function encodeAddressGeneration(writer: MessageWriter, on: boolean): void {
  const spec = writer.beginNest(IFLA_AF_SPEC | NLA_F_NESTED);
  const inet6 = writer.beginNest(AF_INET6 | NLA_F_NESTED);
  writer.attributeU8(IFLA_INET6_ADDR_GEN_MODE, on ? IN6_ADDR_GEN_MODE_EUI64 : IN6_ADDR_GEN_MODE_NONE);
  writer.endNest(inet6);
  writer.endNest(spec);
}

/** True when `encodeLinkSet` has something to say. */
export function hasLinkChange(settings: LinkSettings): boolean {
  return (
    settings.up !== undefined ||
    settings.mtu !== undefined ||
    settings.mac !== undefined ||
    settings.group !== undefined ||
    settings.master !== undefined ||
    settings.alias !== undefined ||
    settings.ipv6LinkLocal !== undefined ||
    settings.rename !== undefined
  );
}

/** `ip link property add dev X altname Y`. */
export function encodeAltName(writer: MessageWriter, sequence: number, index: number, altName: string): void {
  writer.begin(RTM_NEWLINKPROP, SET | NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND, sequence);
  ifinfo(writer, { index });
  const list = writer.beginNest(IFLA_PROP_LIST | NLA_F_NESTED);
  writer.attributeString(IFLA_ALT_IFNAME, altName);
  writer.endNest(list);
  writer.end();
}

/** `bridge link set dev X hairpin on`. */
export function encodeHairpin(writer: MessageWriter, sequence: number, index: number, on: boolean): void {
  writer.begin(RTM_SETLINK, SET, sequence);
  ifinfo(writer, { family: AF_BRIDGE, index });
  const info = writer.beginNest(IFLA_PROTINFO | NLA_F_NESTED);
  writer.attributeU8(IFLA_BRPORT_MODE, on ? 1 : 0);
  writer.endNest(info);
  writer.end();
}

/** `ip link set X netns PATH`. */
export function encodeLinkMove(
  writer: MessageWriter,
  sequence: number,
  index: number,
  namespaceFd: number,
): void {
  writer.begin(RTM_NEWLINK, SET, sequence);
  ifinfo(writer, { index });
  writer.attributeU32(IFLA_NET_NS_FD, namespaceFd);
  writer.end();
}

/** `ip link del X`. */
export function encodeLinkDelete(writer: MessageWriter, sequence: number, index: number): void {
  writer.begin(RTM_DELLINK, SET, sequence);
  ifinfo(writer, { index });
  writer.end();
}

/** `ip link set X group N`. */
export function encodeLinkGroup(writer: MessageWriter, sequence: number, index: number, group: number): void {
  writer.begin(RTM_NEWLINK, SET, sequence);
  ifinfo(writer, { index });
  writer.attributeU32(IFLA_GROUP, group);
  writer.end();
}

/** `ip link del group N`. */
export function encodeGroupDelete(writer: MessageWriter, sequence: number, group: number): void {
  writer.begin(RTM_DELLINK, SET, sequence);
  ifinfo(writer, {});
  writer.attributeU32(IFLA_GROUP, group);
  writer.end();
}

export function encodeLinkDump(writer: MessageWriter, sequence: number): void {
  writer.begin(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, sequence);
  ifinfo(writer, {});
  writer.attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  writer.end();
}

/** One link, by name or by index. */
export function encodeLinkGet(writer: MessageWriter, sequence: number, which: string | number): void {
  writer.begin(RTM_GETLINK, NLM_F_REQUEST, sequence);
  ifinfo(writer, { index: typeof which === 'number' ? which : 0 });
  writer.attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if (typeof which === 'string') writer.attributeString(IFLA_IFNAME, which);
  writer.end();
}

/** A link as the kernel tells it; the master by index. */
export interface DecodedLink extends Omit<Link, 'master'> {
  readonly masterIndex: number;
}

/** Decodes one RTM_NEWLINK/RTM_DELLINK payload; made once, used for many. */
export class LinkDecoder {
  readonly #attributes = new Attributes();
  readonly #info = new Attributes();
  readonly #data = new Attributes();

  decode(buffer: Buffer, message: Message): DecodedLink | undefined {
    if (message.end - message.start < IFINFO_BYTES) return undefined;
    const attributes = this.#attributes.parse(buffer, message.start + IFINFO_BYTES, message.end);
    const name = attributes.string(IFLA_IFNAME);
    if (name === undefined) return undefined;
    const address = attributes.range(IFLA_ADDRESS);
    return {
      name,
      index: buffer.readInt32LE(message.start + 4),
      up: (buffer.readUInt32LE(message.start + 8) & IFF_UP) !== 0,
      mtu: attributes.u32(IFLA_MTU) ?? 0,
      mac:
        address !== undefined && address.end - address.start === 6
          ? macFromBytes(buffer, address.start)
          : undefined,
      alias: attributes.string(IFLA_IFALIAS),
      altNames: this.#altNames(buffer, attributes),
      masterIndex: attributes.u32(IFLA_MASTER) ?? 0,
      group: attributes.u32(IFLA_GROUP) ?? 0,
      details: this.#details(attributes),
    };
  }

  #altNames(buffer: Buffer, attributes: Attributes): string[] {
    const names: string[] = [];
    const list = attributes.range(IFLA_PROP_LIST);
    if (list === undefined) return names;
    forEachAttribute(buffer, list.start, list.end, (type, start, end) => {
      if (type === IFLA_ALT_IFNAME) names.push(readString(buffer, start, end));
    });
    return names;
  }

  #details(attributes: Attributes): LinkDetails {
    if (!attributes.nested(IFLA_LINKINFO, this.#info)) return { kind: 'other', name: '' };
    const kind = this.#info.string(IFLA_INFO_KIND) ?? '';
    if (kind === 'bridge' || kind === 'veth') return { kind };
    if (kind !== 'vxlan' || !this.#info.nested(IFLA_INFO_DATA, this.#data))
      return { kind: 'other', name: kind };
    return {
      kind,
      vni: this.#data.u32(IFLA_VXLAN_ID) ?? 0,
      local: this.#data.ip(IFLA_VXLAN_LOCAL) ?? this.#data.ip(IFLA_VXLAN_LOCAL6),
      port: this.#data.u16be(IFLA_VXLAN_PORT) ?? 0,
      learning: (this.#data.u8(IFLA_VXLAN_LEARNING) ?? 0) !== 0,
    };
  }
}

/** Index of the link that the message is about; 0 when it is too short to say. */
export function linkIndexOf(buffer: Buffer, message: Message): number {
  return message.end - message.start >= IFINFO_BYTES ? buffer.readInt32LE(message.start + 4) : 0;
}
