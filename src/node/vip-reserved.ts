/** What the cluster's networks mean for VIPs: which spaces there are, and which addresses are taken. */
import { parseIp, parsePrefix, Prefix, prefix } from '../base/ip.ts';
import type { Reserved } from '../vip/table.ts';
import type { RecordView } from './record-view.ts';

/** RFC 6890: nobody's to give. */
const special: readonly Reserved[] = [
  ...['0.0.0.0/8', '127.0.0.0/8', '::/127'].map((text) => [text, 'the loopback device'] as const),
  ...['169.254.0.0/16', 'fe80::/10'].map((text) => [text, 'single links (link-local addresses)'] as const),
  ...['224.0.0.0/3', 'ff00::/8'].map((text) => [text, 'multicast and reserved ranges'] as const),
].map(([text, owner]) => ({ prefix: prefix(text), owner }));

interface NamedSpaces {
  readonly name: string;
  readonly spaces: readonly (string | undefined)[];
}

/** The spaces of all overlays: those that nodes tell of, and `more`. */
export function overlaySpaces(records: RecordView, more: readonly NamedSpaces[] = []): readonly Reserved[] {
  const told = records
    .overlays()
    .filter(({ node }) => !records.removed().has(node))
    .map(({ record }) => ({ name: record.overlay, spaces: [record.space, record.space6] }));
  const spaces = new Map<string, Reserved>();
  for (const { name, spaces: texts } of [...more, ...told])
    for (const text of texts) {
      const parsed = text === undefined || spaces.has(text) ? undefined : parsePrefix(text);
      if (text !== undefined && parsed !== undefined)
        spaces.set(text, { prefix: parsed, owner: `the overlay "${name}"` });
    }
  return Array.from(spaces.values());
}

/** Addresses that mean something else everywhere, and the hosts'. */
export function hostAddresses(records: RecordView): readonly Reserved[] {
  const hosts = records.nodes().flatMap(({ name, address }) => {
    const parsed = parseIp(address);
    if (parsed === undefined) return [];
    return { prefix: new Prefix(parsed, parsed.family === 4 ? 32 : 128), owner: `the host ${name}` };
  });
  return [...special, ...hosts];
}
