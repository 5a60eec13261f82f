/** Notifications of rtnetlink and nftables as events. */
import {
  describeAddress,
  describeFdb,
  describeLink,
  describeNeighbour,
  describeRoute,
  describeRule,
} from '../describe.ts';
import type { KernelEvent } from '../types.ts';
import { Attributes, type Message } from './message.ts';
import { AddressDecoder } from './rtnetlink/address.ts';
import {
  AF_BRIDGE,
  AF_UNSPEC,
  RTM_DELADDR,
  RTM_DELLINK,
  RTM_DELNEIGH,
  RTM_DELROUTE,
  RTM_DELRULE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  RTM_NEWNETCONF,
  RTM_NEWROUTE,
  RTM_NEWRULE,
  type NameOf,
} from './rtnetlink/constants.ts';
import { FdbDecoder } from './rtnetlink/fdb.ts';
import { LinkDecoder, type DecodedLink } from './rtnetlink/link.ts';
import { NeighbourDecoder } from './rtnetlink/neighbour.ts';
import { NetconfDecoder } from './rtnetlink/netconf.ts';
import { RouteDecoder } from './rtnetlink/route.ts';
import { RuleDecoder } from './rtnetlink/rule.ts';

/** What a decoder found: the link's name as resolved, and the line. */
interface Finding {
  readonly object: KernelEvent['object'];
  readonly link: string | undefined;
  readonly line: string;
  readonly sysctls?: Readonly<Record<string, string>>;
}

const deletions: ReadonlySet<number> = new Set([RTM_DELADDR, RTM_DELROUTE, RTM_DELRULE, RTM_DELNEIGH]);

export function isAboutLink({ type }: Message): boolean {
  return type === RTM_NEWLINK || type === RTM_DELLINK;
}

/** Messages of AF_BRIDGE tell a port's state in its bridge, which no `Link` has. */
export function isPortState(buffer: Buffer, { start, end }: Message): boolean {
  return end > start && buffer.readUInt8(start) !== AF_UNSPEC;
}

/** Links have a decoder of their own, since most of what is told of them is no news and not worth a text. */
export class LinkEventDecoder {
  readonly #links = new LinkDecoder();

  decode(buffer: Buffer, message: Message): DecodedLink | undefined {
    return isPortState(buffer, message) ? undefined : this.#links.decode(buffer, message);
  }
}

export function linkEvent(change: KernelEvent['change'], link: DecodedLink): KernelEvent {
  const { name, alias } = link;
  const line = describeLink({ ...link, master: undefined });
  const text = change === 'delete' ? `Deleted ${line}` : line;
  return { object: 'link', change, link: name, text, ...(alias === undefined ? {} : { alias }) };
}

export class RouteEventDecoder {
  readonly #addresses = new AddressDecoder();
  readonly #routes = new RouteDecoder();
  readonly #rules = new RuleDecoder();
  readonly #neighbours = new NeighbourDecoder();
  readonly #fdb = new FdbDecoder();
  readonly #settings = new NetconfDecoder();

  /** `undefined` for what has no event: local and cached routes, entries without resolution, unknown messages, links. */
  decode(buffer: Buffer, message: Message, nameOf: NameOf): KernelEvent | undefined {
    const found = this.#find(buffer, message, named(nameOf));
    if (found === undefined) return undefined;
    const change = deletions.has(message.type) ? 'delete' : 'new';
    const { link, line, ...rest } = found;
    return {
      ...rest,
      change,
      link: link === undefined || isNumbered(link) ? undefined : link,
      text: change === 'delete' ? `Deleted ${line}` : line,
    };
  }

  #find(buffer: Buffer, message: Message, nameOf: NameOf): Finding | undefined {
    switch (message.type) {
      case RTM_NEWADDR:
      case RTM_DELADDR: {
        const value = this.#addresses.decode(buffer, message, nameOf);
        return value && { object: 'address', link: value.link, line: describeAddress(value) };
      }
      case RTM_NEWROUTE:
      case RTM_DELROUTE: {
        const value = this.#routes.decode(buffer, message, nameOf);
        return value && { object: 'route', link: value.link, line: describeRoute(value) };
      }
      case RTM_NEWRULE:
      case RTM_DELRULE: {
        const value = this.#rules.decode(buffer, message);
        return value && { object: 'rule', link: undefined, line: describeRule(value) };
      }
      case RTM_NEWNEIGH:
      case RTM_DELNEIGH:
        return this.#neighbour(buffer, message, nameOf);
      case RTM_NEWNETCONF:
        return this.#setting(buffer, message, nameOf);
      default:
        return undefined;
    }
  }

  #neighbour(buffer: Buffer, message: Message, nameOf: NameOf): Finding | undefined {
    if (message.end > message.start && buffer.readUInt8(message.start) === AF_BRIDGE) {
      const entry = this.#fdb.decode(buffer, message, nameOf);
      return entry && { object: 'fdb', link: entry.link, line: describeFdb(entry) };
    }
    const value = this.#neighbours.decode(buffer, message, nameOf);
    return value && { object: 'neighbour', link: value.link, line: describeNeighbour(value) };
  }

  #setting(buffer: Buffer, message: Message, nameOf: NameOf): Finding | undefined {
    const value = this.#settings.decode(buffer, message, nameOf);
    if (value === undefined) return undefined;
    const { link, sysctls } = value;
    const lines = Object.entries(sysctls).map(([key, now]) => `${key} = ${now}`);
    return lines.length === 0 ? undefined : { object: 'sysctl', link, line: lines.join(', '), sysctls };
  }
}

/** A link that is gone stands in the text by its index; '#' cannot begin a link's name that we would know. */
function named(nameOf: NameOf): NameOf {
  return (index) => nameOf(index) ?? `#${index}`;
}

function isNumbered(link: string): boolean {
  return link.startsWith('#');
}

const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_NEWGEN = 15;
const NFTA_TABLE = 1;
const NFTA_NAME = 2;
const NFTA_GEN_ID = 1;
const NFTA_GEN_PROC_NAME = 3;
const NFGENMSG_BYTES = 4;
/** NFT_MSG_*: their first attribute is the table's name, the second the object's. */
const nftObjects: ReadonlyMap<number, { readonly what: string; readonly change: 'new' | 'delete' }> = new Map(
  [
    [0, { what: 'table', change: 'new' }],
    [2, { what: 'table', change: 'delete' }],
    [3, { what: 'chain', change: 'new' }],
    [5, { what: 'chain', change: 'delete' }],
    [6, { what: 'rule', change: 'new' }],
    [8, { what: 'rule', change: 'delete' }],
    [9, { what: 'set', change: 'new' }],
    [11, { what: 'set', change: 'delete' }],
    [12, { what: 'element', change: 'new' }],
    [14, { what: 'element', change: 'delete' }],
  ],
);

export class NftEventDecoder {
  readonly #attributes = new Attributes();

  decode(buffer: Buffer, message: Message): KernelEvent | undefined {
    if (message.type >> 8 !== NFNL_SUBSYS_NFTABLES) return undefined;
    if (message.end - message.start < NFGENMSG_BYTES) return undefined;
    const attributes = this.#attributes.parse(buffer, message.start + NFGENMSG_BYTES, message.end);
    const type = message.type & 0xff;
    if (type === NFT_MSG_NEWGEN) {
      const by = attributes.string(NFTA_GEN_PROC_NAME) ?? 'unknown';
      const text = `nft generation ${attributes.u32be(NFTA_GEN_ID) ?? 0} by ${by}`;
      return { object: 'nft', change: 'new', link: undefined, text };
    }
    const object = nftObjects.get(type);
    if (object === undefined) return undefined;
    const { what, change } = object;
    const table = attributes.string(NFTA_TABLE) ?? '';
    const name = what === 'table' ? table : `${table} ${attributes.string(NFTA_NAME) ?? ''}`;
    return { object: 'nft', change, link: undefined, text: `nft ${change} ${what} ${name.trimEnd()}` };
  }
}
