/** A link in memory. */
import type { Mac } from '../base/mac.ts';
import type { Link, LinkDetails } from './types.ts';

export interface FakeLink {
  index: number;
  name: string;
  up: boolean;
  mtu: number;
  mac: Mac | undefined;
  alias: string | undefined;
  altNames: string[];
  master: FakeLink | undefined;
  group: number;
  details: LinkDetails;
  hairpin: boolean;

  peer: FakeLink | undefined;
}

export function toLink(link: FakeLink): Link {
  const { name, index, up, mtu, mac, alias, group, details } = link;
  const altNames = [...link.altNames];
  return { name, index, up, mtu, mac, alias, altNames, master: link.master?.name, group, details };
}

export function inventedMac(index: number): Mac {
  const tail = [index >> 16, index >> 8, index].map((part) => (part & 0xff).toString(16).padStart(2, '0'));
  return `02:00:00:${tail.join(':')}` as Mac;
}
