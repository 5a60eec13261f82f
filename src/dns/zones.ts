/**
 * Which names are ours to answer, and what is said of those that are not there.
 *
 * Purpose: for a name, the zone it belongs to, and the name under which the table has it: many names of DC/OS are other
 * words for one (reference "VIPs and DNS", sections 4 and 5).
 * Invariants: comparisons are label by label; rewriting ends, since each step takes a name nearer to its canonical zone
 * and the steps are counted.
 */
import type { Prefix } from '../base/ip.ts';
import { keyLabels, labelsKey, nameKey, suffixOffsets } from './name.ts';
import type { DnsRecord, SoaData } from './record.ts';
import { addressOfReverse, reverseName } from './reverse.ts';
import { recordTail } from './writer.ts';
import { assert } from '../base/assert.ts';

export const MESOS = 'mesos';
export const DIRECTORY = 'thisdcos.directory';
export const L4LB = `l4lb.${DIRECTORY}`;
export const DCOS = `dcos.${DIRECTORY}`;
const SPARTAN = 'spartan';
/** How long others may keep what they were told, in seconds. */
export interface TimesToLive {
  /** Names of our own zones. */
  readonly own: number;
  /** Names of Mesos-DNS. */
  readonly mesos: number;
}
export const defaultTtls: TimesToLive = { own: 5, mesos: 60 };
const NS_TTL_SECONDS = 3600;

export const NAME_SERVER = `ns.${SPARTAN}`;
export const MESOS_NAME_SERVER = `ns1.${MESOS}`;

const soa: SoaData = {
  type: 'SOA',
  mname: NAME_SERVER,
  rname: 'support.mesosphere.com',
  refresh: 60,
  retry: 180,
  expire: 86_400,
  minimum: 1,
};
const mesosSoa: SoaData = { ...soa, mname: MESOS_NAME_SERVER, rname: `root.${MESOS_NAME_SERVER}` };

export interface Zone {
  readonly name: string;
  readonly key: string;
  readonly soa: DnsRecord;
  /** The SOA record behind its owner's name, as it goes over the wire with the word that something is not there. */
  readonly absence: Buffer;
}

/** Zones whose apex has SOA and NS records in the table. */
export const zoneNames: readonly string[] = [DIRECTORY, L4LB, DCOS, MESOS, SPARTAN, 'localhost', 'zk'];

function zoneOf(name: string, ttls: TimesToLive): Zone {
  const mesos = name === MESOS || name === `${MESOS}.${DIRECTORY}`;
  const ttl = mesos ? ttls.mesos : ttls.own;
  const data = mesos ? mesosSoa : soa;
  const record = { name, ttl, data, preferred: true };
  // The time for which the absence may be kept is the lesser of the two (RFC 2308, 3).
  const absence = recordTail({ ...record, ttl: Math.min(ttl, data.minimum) });
  return { name, key: keyOf(name), soa: record, absence };
}

/** SOA and NS of every zone. */
export function apexRecords(ttls: TimesToLive, names = zoneNames): readonly DnsRecord[] {
  return names.flatMap((name) => [
    zoneOf(name, ttls).soa,
    {
      name,
      ttl: NS_TTL_SECONDS,
      data: { type: 'NS', target: name === MESOS ? MESOS_NAME_SERVER : NAME_SERVER },
      preferred: true,
    },
  ]);
}

/** One end of a name stands for another. */
const aliasTexts: readonly (readonly [string, string])[] = [
  [`dclb.${DIRECTORY}`, L4LB],
  ['thisdcos.global', DIRECTORY],
  [`${MESOS}.${DIRECTORY}`, MESOS],
];
const REWRITES_MAX = 4;

export interface ZonesInit {
  /** Names under `<cluster id>.dcos.directory` are ours as well; absent until it is known. */
  readonly cluster?: string;
  /** Addresses of containers and VIPs: nobody else can say whose they are. */
  readonly reverse: readonly Prefix[];
  /** Names of zones that the operator has made. */
  readonly custom?: readonly string[];
  /** @default defaultTtls */
  readonly ttls?: TimesToLive;
}

export class Zones {
  readonly #zones: ReadonlyMap<string, Zone>;
  readonly #aliases: ReadonlyMap<string, string>;
  readonly #reverse: readonly { readonly prefix: Prefix; readonly zone: Zone }[];

  constructor(init: ZonesInit) {
    const ttls = init.ttls ?? defaultTtls;
    const cluster = init.cluster === undefined ? undefined : nameKey(`${init.cluster}.dcos.directory`);
    const aliases = new Map(aliasTexts.map(([from, to]) => [keyOf(from), keyOf(to)]));
    if (cluster !== undefined) aliases.set(cluster, keyOf(DIRECTORY));
    const names = [...zoneNames, ...aliasTexts.map(([from]) => from), ...(init.custom ?? [])];
    const zones = new Map(names.map((name) => [keyOf(name), zoneOf(name, ttls)]));
    if (cluster !== undefined) zones.set(cluster, zoneOf(keyLabels(cluster).join('.'), ttls));
    this.#zones = zones;
    this.#aliases = aliases;
    this.#reverse = init.reverse.map((prefix) => ({ prefix, zone: zoneOf(reverseApex(prefix), ttls) }));
  }

  /** Zones of addresses that are ours as a whole: where a prefix ends within a label, others have the rest. */
  get reverseNames(): readonly string[] {
    const whole = this.#reverse.filter(({ prefix }) => prefix.length % bitsOfLabel(prefix) === 0);
    return Array.from(new Set(whole.map(({ zone }) => zone.name)));
  }

  /** The zone of ours that the name is in; `undefined` = not ours to answer. */
  find(key: string): Zone | undefined {
    for (const offset of suffixOffsets(key)) {
      const zone = this.#zones.get(key.slice(offset));
      if (zone !== undefined) return zone;
    }
    return this.#reverseZone(key);
  }

  /** The key under which the table would have this name. */
  canonical(key: string): string {
    let name = withoutStars(key);
    for (let i = 0; i < REWRITES_MAX; i++) {
      const next = this.#rewritten(name);
      if (next === name) break;
      name = next;
    }
    return name;
  }

  #rewritten(key: string): string {
    for (const offset of suffixOffsets(key)) {
      const to = this.#aliases.get(key.slice(offset));
      if (to !== undefined) return key.slice(0, offset) + to;
    }
    return key;
  }

  #reverseZone(key: string): Zone | undefined {
    const labels = keyLabels(key);
    if (labels.at(-1) !== 'arpa') return undefined;
    const address = addressOfReverse(labels);
    return address === undefined
      ? undefined
      : this.#reverse.find(({ prefix }) => prefix.contains(address))?.zone;
  }
}

function keyOf(name: string): string {
  const key = nameKey(name);
  assert(key !== undefined, `"${name}" is a name`);
  return key;
}

/** The nearest name above the prefix's addresses that stands at a label's border. */
function reverseApex(prefix: Prefix): string {
  const labels = reverseName(prefix.network).split('.');
  const kept = REVERSE_LABELS + Math.floor(prefix.length / bitsOfLabel(prefix));
  return labels.slice(labels.length - kept).join('.');
}

/** `in-addr.arpa`, `ip6.arpa` */
const REVERSE_LABELS = 2;
const bitsOfLabel = ({ family }: Prefix): number => (family === 4 ? 8 : 4);

/** In names of `mesos`, the text `.*` counts for nothing: `slave.*.mesos` is `slave.mesos`. */
function withoutStars(key: string): string {
  const labels = keyLabels(key);
  if (!labels.some((each) => each.startsWith('*')) || !labels.includes(MESOS)) return key;
  const kept = labels.join('.').replaceAll('.*', '').split('.');
  return labelsKey(kept) ?? key;
}
