/** Connection tracking entries: IPCTNL_MSG_CT_* and CTA_* (include/uapi/linux/netfilter/nfnetlink_conntrack.h). */
import type { IpAddress } from '../../base/ip.ts';
import { kernelError } from '../errno.ts';
import type { ConnectionFilter } from '../types.ts';
import {
  Attributes,
  MessageWriter,
  NLA_F_NESTED,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  type Message,
} from './message.ts';
import { AF_INET, AF_INET6, AF_UNSPEC, familyNumber } from './rtnetlink/constants.ts';
import { nextTurn, type NetlinkSocket } from './socket.ts';

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_GET = (NFNL_SUBSYS_CTNETLINK << 8) | 1;
const IPCTNL_MSG_CT_DELETE = (NFNL_SUBSYS_CTNETLINK << 8) | 2;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_ID = 12;
const CTA_ZONE = 18;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_SRC = 3;
const CTA_IP_V6_DST = 4;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;
const NFGENMSG_BYTES = 4;
/** Deletions per send. */
const MAX_PER_SEND = 64;

interface Half {
  readonly source: IpAddress | undefined;
  readonly destination: IpAddress | undefined;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** What identifies an entry to the kernel, copied from the dump. */
interface EntryKey {
  readonly family: number;
  readonly tuple: Buffer;
  readonly id: number | undefined;
  readonly zone: number | undefined;
}

/** Deletes the entries that one of the filters means; answers how many went. */
export async function deleteConnections(
  socket: NetlinkSocket,
  filters: readonly ConnectionFilter[],
): Promise<number> {
  const writer = new MessageWriter(1024);
  const decoder = new ConnectionDecoder(filters);
  const families = new Set(filters.map(({ address, within }) => (address ?? within)?.family));
  const [family] = families.size === 1 ? families : [];
  const entries = await socket.dump(
    'conntrack -L',
    (request, sequence) => {
      request.begin(IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence);
      nfgenmsg(request, family === undefined ? AF_UNSPEC : familyNumber(family));
      request.end();
    },
    (buffer, message) => decoder.match(buffer, message),
    writer,
  );
  let deleted = 0;
  for (let start = 0; start < entries.length; start += MAX_PER_SEND) {
    if (start > 0) await nextTurn();
    deleted += await deleteSome(socket, writer, entries.slice(start, start + MAX_PER_SEND));
  }
  return deleted;
}

/** An entry that ended by itself meanwhile (ENOENT) is not counted. */
async function deleteSome(
  socket: NetlinkSocket,
  writer: MessageWriter,
  entries: readonly EntryKey[],
): Promise<number> {
  writer.reset();
  for (const entry of entries) {
    writer.begin(IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, socket.nextSequence());
    nfgenmsg(writer, entry.family);
    writer.attributeBytes(CTA_TUPLE_ORIG | NLA_F_NESTED, entry.tuple);
    if (entry.id !== undefined) writer.attributeU32be(CTA_ID, entry.id);
    if (entry.zone !== undefined) writer.attributeU16be(CTA_ZONE, entry.zone);
    writer.end();
  }
  const answers = await socket.exchangeAsync('conntrack -D', writer);
  const failure = answers.find(({ errno }) => errno !== 0 && errno !== 2);
  if (failure !== undefined) throw kernelError('conntrack -D', failure.errno, failure.detail);
  return answers.filter(({ errno }) => errno === 0).length;
}

function nfgenmsg(writer: MessageWriter, family: number): void {
  writer.raw8(family);
  writer.raw8(0);
  writer.raw16be(0);
}

export class ConnectionDecoder {
  /** By what the connections were addressed to, so that thousands cost no more than one. */
  readonly #addressed = new Map<string, ConnectionFilter[]>();
  readonly #others: readonly ConnectionFilter[];
  readonly #attributes = new Attributes();
  readonly #tuple = new Attributes();
  readonly #part = new Attributes();

  constructor(filters: readonly ConnectionFilter[]) {
    this.#others = filters.filter(({ addressed }) => addressed === undefined);
    for (const filter of filters) {
      if (filter.addressed === undefined) continue;
      const key = `${filter.addressed.port} ${String(filter.addressed.address)}`;
      this.#addressed.set(key, [...(this.#addressed.get(key) ?? []), filter]);
    }
  }

  /** The key of an entry that one of the filters means. */
  match(buffer: Buffer, message: Message): EntryKey | undefined {
    if (message.end - message.start < NFGENMSG_BYTES) return undefined;
    const family = buffer.readUInt8(message.start);
    if (family !== AF_INET && family !== AF_INET6) return undefined;
    const attributes = this.#attributes.parse(buffer, message.start + NFGENMSG_BYTES, message.end);
    const tuple = attributes.bytes(CTA_TUPLE_ORIG);
    const original = this.#half(CTA_TUPLE_ORIG);
    const reply = this.#half(CTA_TUPLE_REPLY);
    if (tuple === undefined || original === undefined || reply === undefined) return undefined;
    if (!this.#isMeant(original, reply)) return undefined;
    return {
      family,
      tuple: Buffer.from(tuple),
      id: attributes.u32be(CTA_ID),
      zone: attributes.u16be(CTA_ZONE),
    };
  }

  /** The reply comes from where the connection really went: the original destination after translation. */
  #isMeant(original: Half, reply: Half): boolean {
    const { protocol, destination, destinationPort } = original;
    const translated = this.#addressed.get(`${destinationPort} ${String(destination)}`) ?? [];
    if (translated.some((each) => isMeant(each, protocol, reply.source, reply.sourcePort))) return true;
    return this.#others.some(
      (each) =>
        (isMeant(each, protocol, destination, destinationPort) ||
          isMeant(each, protocol, reply.source, reply.sourcePort)) &&
        (each.untranslated !== true || isMirrored(original, reply)),
    );
  }

  #half(type: number): Half | undefined {
    if (!this.#attributes.nested(type, this.#tuple)) return undefined;
    const part = this.#part;
    if (!this.#tuple.nested(CTA_TUPLE_IP, part)) return undefined;
    const source = part.ip(CTA_IP_V4_SRC) ?? part.ip(CTA_IP_V6_SRC);
    const destination = part.ip(CTA_IP_V4_DST) ?? part.ip(CTA_IP_V6_DST);
    if (!this.#tuple.nested(CTA_TUPLE_PROTO, part)) return undefined;
    return {
      source,
      destination,
      protocol: part.u8(CTA_PROTO_NUM) ?? 0,
      sourcePort: part.u16be(CTA_PROTO_SRC_PORT) ?? 0,
      destinationPort: part.u16be(CTA_PROTO_DST_PORT) ?? 0,
    };
  }
}

function isMeant(
  filter: ConnectionFilter,
  protocol: number,
  address: IpAddress | undefined,
  port: number,
): boolean {
  return (
    address !== undefined &&
    (filter.address === undefined || address.equals(filter.address)) &&
    (filter.within === undefined || filter.within.contains(address)) &&
    (filter.protocol === undefined || filter.protocol === protocol) &&
    (filter.port === undefined || filter.port === port)
  );
}

/** Replies come from where it was addressed to, and go to where it came from. */
function isMirrored(original: Half, reply: Half): boolean {
  return (
    original.sourcePort === reply.destinationPort &&
    original.destinationPort === reply.sourcePort &&
    String(original.source) === String(reply.destination) &&
    String(original.destination) === String(reply.source)
  );
}
