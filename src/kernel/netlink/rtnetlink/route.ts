/** Unicast routes: struct rtmsg and RTA_* (include/uapi/linux/rtnetlink.h). */
import { IpAddress, Prefix } from '../../../base/ip.ts';
import type { Route } from '../../types.ts';
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
  AF_UNSPEC,
  familyNumber,
  RTM_DELROUTE,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  type NameOf,
} from './constants.ts';

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTN_UNICAST = 1;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
/** In a deletion: whatever the scope. */
const RT_SCOPE_NOWHERE = 255;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;
const RTMSG_BYTES = 12;
const RTNEXTHOP_BYTES = 8;

/** struct rtmsg of a unicast route; a table that needs more than a byte is told in an attribute. */
function rtmsg(
  writer: MessageWriter,
  family: number,
  length: number,
  table: number,
  protocol: number,
  scope: number,
  flags: number,
): void {
  const place = (table < 256 ? table : 0) | (protocol << 8) | (scope << 16) | (RTN_UNICAST << 24);
  writer.raw32x3(family | (length << 8), place, flags);
}

/** `linkIndex` is that of `route.link`, 0 = none. */
export function encodeRoute(
  writer: MessageWriter,
  sequence: number,
  what: 'replace' | 'delete',
  route: Route,
  linkIndex: number,
): void {
  const replace = what === 'replace';
  const flags = replace ? NLM_F_CREATE | NLM_F_REPLACE : 0;
  writer.begin(replace ? RTM_NEWROUTE : RTM_DELROUTE, NLM_F_REQUEST | flags, sequence);
  const directScope = route.destination.family === 4 && route.gateway === undefined;
  const scope = !replace ? RT_SCOPE_NOWHERE : directScope ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  const onlink = replace && route.onlink ? RTNH_F_ONLINK : 0;
  const { family, length, network } = route.destination;
  rtmsg(writer, familyNumber(family), length, route.table, route.protocol, scope, onlink);
  if (length > 0) writer.attributeIp(RTA_DST, network);
  if (route.gateway !== undefined) writer.attributeIp(RTA_GATEWAY, route.gateway);
  if (linkIndex !== 0) writer.attributeU32(RTA_OIF, linkIndex);
  if (route.metric !== 0) writer.attributeU32(RTA_PRIORITY, route.metric);
  if (route.table > 255) writer.attributeU32(RTA_TABLE, route.table);
  writer.end();
}

export interface RouteFilter {
  readonly table?: number;
  readonly protocol?: number;
}

/** Under NETLINK_GET_STRICT_CHK the kernel filters by table, protocol and type (ip_valid_fib_dump_req). */
export function encodeRouteDump(
  writer: MessageWriter,
  sequence: number,
  family: 4 | 6 | 'both',
  filter: RouteFilter,
): void {
  writer.begin(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, sequence);
  const { table = 0, protocol = 0 } = filter;
  // Of no family, it is handed to each of them in turn (rtnetlink.c, rtnl_dump_all).
  rtmsg(
    writer,
    family === 'both' ? AF_UNSPEC : familyNumber(family),
    0,
    table,
    protocol,
    RT_SCOPE_UNIVERSE,
    0,
  );
  if (filter.table !== undefined && filter.table > 255) writer.attributeU32(RTA_TABLE, filter.table);
  writer.end();
}

/** Told without decoding the rest: a dump cannot be asked for default routes alone. */
export function isDefault(buffer: Buffer, { start, end }: Message): boolean {
  return end - start >= RTMSG_BYTES && buffer.readUInt8(start + 1) === 0;
}

/** Decodes one unicast route; others (local, broadcast, blackhole) and cached clones are `undefined`. */
export class RouteDecoder {
  readonly #attributes = new Attributes();
  readonly #nexthop = new Attributes();

  decode(buffer: Buffer, message: Message, nameOf: NameOf): Route | undefined {
    const { start, end } = message;
    if (end - start < RTMSG_BYTES) return undefined;
    const family = buffer.readUInt8(start);
    const length = buffer.readUInt8(start + 1);
    const flags = buffer.readUInt32LE(start + 8);
    if (family !== AF_INET && family !== AF_INET6) return undefined;
    if (buffer.readUInt8(start + 7) !== RTN_UNICAST || (flags & RTM_F_CLONED) !== 0) return undefined;
    const attributes = this.#attributes.parse(buffer, start + RTMSG_BYTES, end);
    const destination = attributes.ip(RTA_DST) ?? new IpAddress(family === AF_INET ? 4 : 6, 0);
    if ((destination.family === 4) !== (family === AF_INET) || length > (family === AF_INET ? 32 : 128))
      return undefined;
    const hop = this.#firstHop(buffer, flags);
    return {
      destination: new Prefix(destination, length),
      table: attributes.u32(RTA_TABLE) ?? buffer.readUInt8(start + 4),
      protocol: buffer.readUInt8(start + 5),
      metric: attributes.u32(RTA_PRIORITY) ?? 0,
      gateway: hop.gateway,
      link: hop.linkIndex === 0 ? undefined : nameOf(hop.linkIndex),
      onlink: (hop.flags & RTNH_F_ONLINK) !== 0,
    };
  }

  /** The route's own next hop, or the first of several (struct rtnexthop); we never make multipath routes. */
  #firstHop(
    buffer: Buffer,
    flags: number,
  ): { readonly gateway: IpAddress | undefined; readonly linkIndex: number; readonly flags: number } {
    const attributes = this.#attributes;
    const multipath = attributes.range(RTA_MULTIPATH);
    if (multipath === undefined || multipath.end - multipath.start < RTNEXTHOP_BYTES)
      return { gateway: attributes.ip(RTA_GATEWAY), linkIndex: attributes.u32(RTA_OIF) ?? 0, flags };
    const size = buffer.readUInt16LE(multipath.start);
    const end = Math.min(multipath.start + size, multipath.end);
    this.#nexthop.parse(buffer, multipath.start + RTNEXTHOP_BYTES, end);
    return {
      gateway: this.#nexthop.ip(RTA_GATEWAY),
      linkIndex: buffer.readUInt32LE(multipath.start + 4),
      flags: buffer.readUInt8(multipath.start + 2),
    };
  }
}
