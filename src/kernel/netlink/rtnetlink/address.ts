/** Addresses: struct ifaddrmsg and IFA_* (include/uapi/linux/if_addr.h). */
import { InterfaceAddress } from '../../../base/ip.ts';
import type { Address } from '../../types.ts';
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
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_NEWADDR,
  type NameOf,
} from './constants.ts';

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
/** An address of ours is ours: waiting for duplicate detection would make a container wait a second for IPv6. */
const IFA_F_NODAD = 2;
const IFADDR_BYTES = 8;

export function encodeAddress(
  writer: MessageWriter,
  sequence: number,
  what: 'replace' | 'delete',
  address: InterfaceAddress,
  linkIndex: number,
): void {
  const flags = what === 'replace' ? NLM_F_CREATE | NLM_F_REPLACE : 0;
  writer.begin(what === 'replace' ? RTM_NEWADDR : RTM_DELADDR, NLM_F_REQUEST | flags, sequence);
  ifaddr(writer, familyNumber(address.address.family), address.length, linkIndex);
  writer.attributeIp(IFA_LOCAL, address.address);
  writer.attributeIp(IFA_ADDRESS, address.address);
  if (what === 'replace' && address.address.family === 6) writer.attributeU32(IFA_FLAGS, IFA_F_NODAD);
  writer.end();
}

function ifaddr(writer: MessageWriter, family: number, length: number, linkIndex: number): void {
  writer.raw8x4(family, length, 0, 0);
  writer.raw32(linkIndex);
}

/** `linkIndex` 0 = of all links. */
export function encodeAddressDump(
  writer: MessageWriter,
  sequence: number,
  family: 4 | 6,
  linkIndex: number,
): void {
  writer.begin(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, sequence);
  ifaddr(writer, familyNumber(family), 0, linkIndex);
  writer.end();
}

export class AddressDecoder {
  readonly #attributes = new Attributes();

  decode(buffer: Buffer, message: Message, nameOf: NameOf): Address | undefined {
    if (message.end - message.start < IFADDR_BYTES) return undefined;
    const family = buffer.readUInt8(message.start);
    const length = buffer.readUInt8(message.start + 1);
    const attributes = this.#attributes.parse(buffer, message.start + IFADDR_BYTES, message.end);
    // IFA_ADDRESS is the far end on point-to-point links; IFA_LOCAL is ours where it is given.
    const address = attributes.ip(IFA_LOCAL) ?? attributes.ip(IFA_ADDRESS);
    if (address === undefined || (family !== AF_INET && family !== AF_INET6)) return undefined;
    if ((address.family === 4) !== (family === AF_INET) || length > (family === AF_INET ? 32 : 128))
      return undefined;
    const link = nameOf(buffer.readUInt32LE(message.start + 4));
    return link === undefined ? undefined : { link, address: new InterfaceAddress(address, length) };
  }
}
