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

/** Spaces remembered; a cluster has a handful. */
const MAX_SPACES = 1_024;

export class RecordParser {
  readonly #known = new WeakMap<OverlayRecord, ParsedRecord>();
  readonly #spaces = new Map<string, Prefix | undefined>();

  parse(record: OverlayRecord): ParsedRecord {
    const known = this.#known.get(record);
    if (known !== undefined) return known;
    const parsed = this.#parse(record);
    this.#known.set(record, parsed);
    return parsed;
  }

  #parse(record: OverlayRecord): ParsedRecord {
    const { vtep_ip6, subnet, subnet6, space, space6 } = record;
    return {
      record,
      vtep: parseInterfaceAddress(record.vtep_ip)?.address,
      vtep6: vtep_ip6 === undefined ? undefined : parseInterfaceAddress(vtep_ip6)?.address,
      mac: parseMac(record.vtep_mac),
      agent: parseIp(record.agent_ip),
      blocks: [...this.#block(subnet, space), ...this.#block(subnet6, space6)],
    };
  }

  #block(subnetText: string | undefined, space: string | undefined): ParsedRecord['blocks'] {
    const subnet = subnetText === undefined ? undefined : parsePrefix(subnetText);
    return subnet === undefined
      ? []
      : [{ subnet, space: space === undefined ? undefined : this.#space(space) }];
  }

  /** The same for all nodes of an overlay. */
  #space(text: string): Prefix | undefined {
    if (this.#spaces.has(text)) return this.#spaces.get(text);
    if (this.#spaces.size >= MAX_SPACES) this.#spaces.clear();
    const space = parsePrefix(text);
    this.#spaces.set(text, space);
    return space;
  }
}
