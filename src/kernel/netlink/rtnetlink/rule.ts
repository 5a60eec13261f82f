/** Policy rules that look up a table: struct fib_rule_hdr and FRA_* (include/uapi/linux/fib_rules.h). */
import { Prefix, type IpAddress } from '../../../base/ip.ts';
import type { Rule } from '../../types.ts';
import {
  Attributes,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REQUEST,
  type Message,
  type MessageWriter,
} from '../message.ts';
import { AF_INET, AF_INET6, familyNumber, RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE } from './constants.ts';

const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_PRIORITY = 6;
const FRA_TABLE = 15;
const FRA_PROTOCOL = 21;
const FR_ACT_TO_TBL = 1;
const HEADER_BYTES = 12;

export function encodeRule(
  writer: MessageWriter,
  sequence: number,
  what: 'add' | 'delete',
  rule: Rule,
): void {
  const flags = what === 'add' ? NLM_F_CREATE | NLM_F_EXCL : 0;
  writer.begin(what === 'add' ? RTM_NEWRULE : RTM_DELRULE, NLM_F_REQUEST | flags, sequence);
  writer.raw8(familyNumber(rule.family));
  writer.raw8(rule.to?.length ?? 0);
  writer.raw8(rule.from?.length ?? 0);
  writer.raw8(0);
  writer.raw8(rule.table < 256 ? rule.table : 0);
  writer.raw16(0);
  writer.raw8(FR_ACT_TO_TBL);
  writer.raw32(0);
  if (rule.to !== undefined && rule.to.length > 0) writer.attributeIp(FRA_DST, rule.to.network);
  if (rule.from !== undefined && rule.from.length > 0) writer.attributeIp(FRA_SRC, rule.from.network);
  writer.attributeU32(FRA_PRIORITY, rule.priority);
  writer.attributeU32(FRA_TABLE, rule.table);
  writer.attributeU8(FRA_PROTOCOL, rule.protocol);
  writer.end();
}

export function encodeRuleDump(writer: MessageWriter, sequence: number, family: 4 | 6): void {
  writer.begin(RTM_GETRULE, NLM_F_REQUEST | NLM_F_DUMP, sequence);
  writer.raw8(familyNumber(family));
  for (let i = 1; i < HEADER_BYTES; i++) writer.raw8(0);
  writer.end();
}

export class RuleDecoder {
  readonly #attributes = new Attributes();

  decode(buffer: Buffer, message: Message): Rule | undefined {
    const { start, end } = message;
    if (end - start < HEADER_BYTES) return undefined;
    const family = buffer.readUInt8(start);
    if (family !== AF_INET && family !== AF_INET6) return undefined;
    if (buffer.readUInt8(start + 7) !== FR_ACT_TO_TBL) return undefined;
    const attributes = this.#attributes.parse(buffer, start + HEADER_BYTES, end);
    const width = family === AF_INET ? 32 : 128;
    return {
      family: family === AF_INET ? 4 : 6,
      priority: attributes.u32(FRA_PRIORITY) ?? 0,
      from: selector(attributes.ip(FRA_SRC), buffer.readUInt8(start + 2), width),
      to: selector(attributes.ip(FRA_DST), buffer.readUInt8(start + 1), width),
      table: attributes.u32(FRA_TABLE) ?? buffer.readUInt8(start + 4),
      protocol: attributes.u8(FRA_PROTOCOL) ?? 0,
    };
  }
}

function selector(address: IpAddress | undefined, length: number, width: number): Prefix | undefined {
  if (address === undefined || length > width) return undefined;
  return (address.family === 4) === (width === 32) ? new Prefix(address, length) : undefined;
}
