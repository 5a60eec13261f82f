/** What the cluster's networks mean for VIPs: where sources are kept, and which addresses are taken. */
import { parseIp, parsePrefix, Prefix, prefix } from '../base/ip.ts';
import type { Membership } from './membership.ts';
import type { Reserved } from '../vip/table.ts';
import type { VipSurroundings } from './vips.ts';

/** RFC 6890 and friends: nobody's to give. */
const special: readonly Reserved[] = [
  ...['0.0.0.0/8', '127.0.0.0/8', '::/127'].map((text) => [text, 'the loopback device'] as const),
  ...['169.254.0.0/16', 'fe80::/10'].map((text) => [text, 'single links (link-local addresses)'] as const),
  ...['224.0.0.0/3', 'ff00::/8'].map((text) => [text, 'multicast and reserved ranges'] as const),
].map(([text, owner]) => ({ prefix: prefix(text), owner }));

export function vipSurroundings({ grants, records }: Membership): VipSurroundings {
  const granted = grants.current()?.overlays ?? [];
  const own = granted.map(({ info }) => ({ name: info.name, spaces: [info.subnet, info.subnet6] }));
  const others = records
    .overlays()
    .filter(({ node }) => !records.removed().has(node))
    .map(({ record }) => ({ name: record.overlay, spaces: [record.space, record.space6] }));
  const spaces = new Map<string, Reserved>();
  for (const { name, spaces: texts } of granted.length === 0 ? [] : [...own, ...others])
    for (const text of texts) {
      const parsed = text === undefined ? undefined : parsePrefix(text);
      if (parsed !== undefined)
        spaces.set(String(parsed), { prefix: parsed, owner: `the overlay "${name}"` });
    }
  const nodes = records.nodes().flatMap(({ name, address }) => {
    const parsed = parseIp(address);
    if (parsed === undefined) return [];
    return { prefix: new Prefix(parsed, parsed.family === 4 ? 32 : 128), owner: `the host ${name}` };
  });
  return {
    overlays: Array.from(spaces.values(), (space) => space.prefix),
    reserved: [...special, ...spaces.values(), ...nodes],
  };
}
