/** Settings of devices that the kernel tells of: struct netconfmsg and NETCONFA_* (include/uapi/linux/netconf.h). */
import { Attributes, type Message } from '../message.ts';
import { AF_INET, AF_INET6, type NameOf } from './constants.ts';

const NETCONFA_IFINDEX = 1;
const NETCONFA_FORWARDING = 2;
const NETCONFA_RP_FILTER = 3;
const NETCONFA_PROXY_NEIGH = 5;
/** An index: the setting of the whole namespace. The one of devices to come, -2, is nobody's business. */
const ALL = -1;
/** struct netconfmsg is one byte, and attributes begin on the next word. */
const HEADER_BYTES = 4;

export interface Settings {
  /** `undefined` = of the whole namespace. */
  readonly link: string | undefined;
  readonly sysctls: Readonly<Record<string, string>>;
}

export class NetconfDecoder {
  readonly #attributes = new Attributes();

  decode(buffer: Buffer, { start, end }: Message, nameOf: NameOf): Settings | undefined {
    if (end - start < HEADER_BYTES) return undefined;
    const family = buffer.readUInt8(start);
    if (family !== AF_INET && family !== AF_INET6) return undefined;
    const attributes = this.#attributes.parse(buffer, start + HEADER_BYTES, end);
    const forwarding = attributes.u32(NETCONFA_FORWARDING);
    const rpFilter = attributes.u32(NETCONFA_RP_FILTER);
    // A device that has just come tells all its settings at once; a change tells the one that changed.
    if (forwarding !== undefined && attributes.has(NETCONFA_PROXY_NEIGH)) return undefined;
    const index = (attributes.u32(NETCONFA_IFINDEX) ?? 0) | 0;
    const link = index === ALL ? undefined : nameOf(index);
    if (index !== ALL && (index <= 0 || link === undefined)) return undefined;
    const directory = `net/ipv${family === AF_INET ? 4 : 6}/conf/${link ?? 'all'}`;
    const forwardingKey =
      family === AF_INET && link === undefined ? 'net/ipv4/ip_forward' : `${directory}/forwarding`;
    return {
      link,
      sysctls: {
        ...(forwarding === undefined ? {} : { [forwardingKey]: String(forwarding) }),
        ...(rpFilter === undefined ? {} : { [`${directory}/rp_filter`]: String(rpFilter) }),
      },
    };
  }
}
