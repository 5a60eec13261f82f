/**
 * Overlay records as values, each parsed once.
 *
 * Records are immutable and stay the same objects while they do not change, so that one node joining a thousand costs
 * the parsing of one.
 */
import { parseInterfaceAddress, parseIp, parsePrefix } from '../base/ip.ts';
import type { IpAddress, Prefix } from '../base/ip.ts';
import { parseMac } from '../base/mac.ts';
import type { Mac } from '../base/mac.ts';
import type { OverlayRecord } from '../model/record.ts';

/** What does not parse is `undefined`. */
export interface ParsedRecord {
  readonly record: OverlayRecord;
  readonly vtep: IpAddress | undefined;
  readonly vtep6: IpAddress | undefined;
  readonly mac: Mac | undefined;
  readonly agent: IpAddress | undefined;
  readonly blocks: readonly { readonly subnet: Prefix; readonly space: Prefix | undefined }[];
}

export class RecordParser {
  readonly #known = new WeakMap<OverlayRecord, ParsedRecord>();

  parse(record: OverlayRecord): ParsedRecord {
    const known = this.#known.get(record);
    if (known !== undefined) return known;
    const parsed = parseRecord(record);
    this.#known.set(record, parsed);
    return parsed;
  }
}

function parseRecord(record: OverlayRecord): ParsedRecord {
  const { vtep_ip6 } = record;
  return {
    record,
    vtep: parseInterfaceAddress(record.vtep_ip)?.address,
    vtep6: vtep_ip6 === undefined ? undefined : parseInterfaceAddress(vtep_ip6)?.address,
    mac: parseMac(record.vtep_mac),
    agent: parseIp(record.agent_ip),
    blocks: [...block(record.subnet, record.space), ...block(record.subnet6, record.space6)],
  };
}

function block(subnetText: string | undefined, spaceText: string | undefined): ParsedRecord['blocks'] {
  const subnet = subnetText === undefined ? undefined : parsePrefix(subnetText);
  const space = spaceText === undefined ? undefined : parsePrefix(spaceText);
  return subnet === undefined ? [] : [{ subnet, space }];
}
