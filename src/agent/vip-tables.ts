/**
 * The VIPs' nft tables in this host's kernel: the rules, made once, and the elements, compared and changed.
 *
 * Purpose: `ensure` brings rules and elements to what is wanted, whatever is there; `change` moves single elements.
 * Invariants: rules that are as they were left are left alone, also by an agent that has just started, so that a restart
 * interrupts nothing; a set is read whole before it is corrected; large corrections go in parts, a VIP's slots before the
 * element that says how many it has, and those it has no more after it; the table of bridges is there from the first local
 * backend on, as each frame that enters any bridge of the host pays for its chain, and goes at the first look without one.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Log } from '../base/log.ts';
import { unpack } from '../kernel/nft/packed.ts';
import { elementKey, type Nft, type NftSet, type NftTable } from '../kernel/nft/types.ts';
import { isErrno } from '../kernel/types.ts';
import type { Journal } from '../store/types.ts';
import type { ElementChange, ElementComparison, ElementTable } from '../vip/elements.ts';
import {
  bridgedSet,
  countedSet,
  hairpinSet,
  servicesSet,
  SHARES,
  slotsSet,
  VIP_BRIDGE_TABLE,
  VIP_TABLE,
  vipBridgeRuleset,
  vipRuleset,
  type VipRulesetInput,
} from '../vip/ruleset.ts';
import { nextTurn } from './slices.ts';

/** Elements of one transaction: about 2 ms of the kernel's time. */
const PART = 1_000;
/** What is corrected is described by so many examples. */
const EXAMPLES = 5;

type TableName = 'inet' | 'bridge';
const suffixes = ['4', '6'] as const;
/** In the order in which elements are added. */
const sets: readonly { readonly table: TableName; readonly set: NftSet }[] = suffixes.flatMap((suffix) => [
  { table: 'bridge' as const, set: bridgedSet(suffix) },
  { table: 'inet' as const, set: hairpinSet(suffix) },
  ...Array.from({ length: SHARES }, (_, share) => ({
    table: 'inet' as const,
    set: slotsSet(suffix, share),
  })),
  { table: 'inet' as const, set: servicesSet(suffix) },
  { table: 'inet' as const, set: countedSet(suffix) },
]);
/** In the journal. */
const known = z.object({ rules: z.string(), fingerprint: z.string() });
const refs = { inet: VIP_TABLE, bridge: VIP_BRIDGE_TABLE } as const;

export interface Correction {
  /** There were no such rules before, or not for all addresses: what is known of connections may be without them. */
  readonly opened: boolean;
  /** Rules or elements were not as this agent had left them. */
  readonly elements: number;
  readonly rules: readonly string[];
  readonly examples: readonly string[];
}

export class VipTables {
  readonly #nft: Nft;
  readonly #journal: Journal;
  readonly #log: Log;
  /** What `nft.replace` answered for the rules as text; from the journal after a start. */
  readonly #known = new Map<TableName, z.infer<typeof known>>();
  #hasBridges = true;
  /** Looked for a table of bridges that nobody wants. */
  #isBridgeless = false;

  constructor(components: { readonly nft: Nft; readonly journal: Journal; readonly log: Log }) {
    this.#nft = components.nft;
    this.#journal = components.journal;
    this.#log = components.log;
    for (const table of ['inet', 'bridge'] as const) {
      const stored = known.safeParse(this.#journal.get(keyOf(table)));
      if (stored.success) this.#known.set(table, stored.data);
    }
  }

  /** Makes the kernel hold the rules and exactly these elements; answers what it had to correct. */
  async ensure(input: VipRulesetInput, wanted: ElementTable): Promise<Correction> {
    const rules = [
      ...(await this.#ensureRules('inet', vipRuleset({ vips: [], overlays: [] }))),
      ...(wanted.wants('bridge') ? await this.#ensureBridgeRules() : await this.#removeBridgeRules()),
    ];
    const prefixes = await this.#ensurePrefixes(input);
    const { elements, examples } = await this.#ensureElements(wanted);
    return { opened: rules.length + prefixes > 0, rules, elements: elements + prefixes, examples };
  }

  /** In one transaction for each table. Rejects when the kernel does not hold what it should: then `ensure`. */
  async change(changes: readonly ElementChange[]): Promise<void> {
    for (const table of ['bridge', 'inet'] as const) {
      const own = changes.filter((each) => each.table === table && each.remove.length + each.add.length > 0);
      if (own.length === 0) continue;
      if (table === 'bridge' && !this.#known.has(table)) await this.#ensureBridgeRules();
      if (table === 'inet' || this.#hasBridges) await this.#nft.changePacked(refs[table], own);
    }
  }

  /** New connections by VIP, by the packed key of its address, protocol and port. */
  async counts(): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>();
    for (const suffix of suffixes) {
      const read = await this.#nft.packed(VIP_TABLE, countedSet(suffix).name);
      for (const [key, packets] of read?.packets ?? []) counts.set(key, packets);
    }
    return counts;
  }

  async remove(): Promise<void> {
    await this.#nft.remove(VIP_TABLE);
    if (this.#hasBridges) await this.#nft.remove(VIP_BRIDGE_TABLE);
    this.#known.clear();
    await this.#journal.write({ [keyOf('inet')]: undefined, [keyOf('bridge')]: undefined });
  }

  /** Answers the table when it had to be made again. */
  async #ensureRules(name: TableName, table: NftTable): Promise<readonly string[]> {
    const rules = digestOf(table);
    const known = this.#known.get(name);
    const found = await this.#nft.fingerprint(table);
    if (found !== undefined && known?.rules === rules && known.fingerprint === found) return [];
    const fingerprint = await this.#nft.replace(table);
    this.#known.set(name, { rules, fingerprint });
    await this.#journal.write({ [keyOf(name)]: { rules, fingerprint } });
    return [`${table.family} ${table.name}`];
  }

  /** Answers the table when it had to be made again, not when there was none because nobody wanted it. */
  async #ensureBridgeRules(): Promise<readonly string[]> {
    const had = this.#known.has('bridge');
    const made = (await this.#withBridges(() => this.#ensureRules('bridge', vipBridgeRuleset()))) ?? [];
    return had ? made : [];
  }

  /** Also once after a start: an agent that was killed may have made it and not have written that down. */
  async #removeBridgeRules(): Promise<readonly string[]> {
    if (this.#isBridgeless && !this.#known.has('bridge')) return [];
    await this.#withBridges(async () => {
      const found = await this.#nft.fingerprint(VIP_BRIDGE_TABLE);
      if (found !== undefined) await this.#nft.remove(VIP_BRIDGE_TABLE);
    });
    this.#isBridgeless = true;
    if (this.#known.delete('bridge')) await this.#journal.write({ [keyOf('bridge')]: undefined });
    return [];
  }

  /** Kernels without nftables for bridges do without: answers within a bridge then need br_netfilter. */
  async #withBridges<T>(action: () => Promise<T>): Promise<T | undefined> {
    if (!this.#hasBridges) return undefined;
    try {
      return await action();
    } catch (error) {
      if (!isErrno(error, 'EOPNOTSUPP') && !isErrno(error, 'EAFNOSUPPORT')) throw error;
      this.#hasBridges = false;
      this.#log.warn('This kernel has no nftables for bridges: VIPs within one bridge need br_netfilter', {});
      return undefined;
    }
  }

  /** The few prefixes, as elements that are parsed. */
  async #ensurePrefixes(input: VipRulesetInput): Promise<number> {
    let corrected = 0;
    for (const set of vipRuleset(input).sets.filter(({ interval }) => interval === true)) {
      const found = new Map(
        (await this.#nft.elements(VIP_TABLE, set))?.map((each) => [elementKey(each), each] as const),
      );
      const wanted = new Map(set.elements.map((each) => [elementKey(each), each] as const));
      const remove = Array.from(found).filter(([key]) => !wanted.has(key));
      const add = Array.from(wanted).filter(([key]) => !found.has(key));
      if (remove.length + add.length === 0) continue;
      const change = { set, remove: remove.map(([, each]) => each), add: add.map(([, each]) => each) };
      await this.#nft.change(VIP_TABLE, [change]);
      corrected += remove.length + add.length;
    }
    return corrected;
  }

  /** What is wanted first, each thing before what leads to it; what nobody wants last, in reverse. */
  async #ensureElements(wanted: ElementTable): Promise<{ elements: number; examples: readonly string[] }> {
    let elements = 0;
    const examples: string[] = [];
    const compared: { readonly set: NftSet; readonly comparison: ElementComparison }[] = [];
    for (const { table, set } of sets) {
      if (table === 'bridge' && !this.#known.has(table)) continue;
      const comparison = wanted.compare(table, set.name);
      await this.#nft.readPacked(refs[table], set.name, comparison);
      if (comparison.differing === 0) continue;
      elements += comparison.differing;
      compared.unshift({ set, comparison });
      const told = await this.#send(comparison.additions(PART));
      examples.push(...describe(set, comparison, told).slice(0, EXAMPLES - examples.length));
    }
    for (const { set, comparison } of compared) {
      const told = await this.#send(comparison.strays(PART));
      examples.push(...describe(set, comparison, told).slice(0, EXAMPLES - examples.length));
    }
    return { elements, examples };
  }

  /** One after the other, each written while the kernel has the one before. Answers the first. */
  async #send(changes: Iterable<ElementChange | undefined>): Promise<ElementChange | undefined> {
    let first: ElementChange | undefined;
    let sent = Promise.resolve();
    await nextTurn();
    for (const change of changes) {
      const before = sent;
      if (change === undefined) {
        await nextTurn();
        continue;
      }
      first ??= change;
      sent = this.#nft.changePacked(refs[change.table], [change]);
      // Awaited below, but not when the one before it fails.
      sent.catch(() => undefined);
      await before;
    }
    await sent;
    return first;
  }
}

function describe(set: NftSet, comparison: ElementComparison, change: ElementChange | undefined): string[] {
  const words = (key: string, data: string): string => `${set.name} ${elementKey(unpack(set, key, data))}`;
  const { remove = [], add = [] } = change ?? {};
  const strays = remove
    .slice(0, EXAMPLES)
    .map((key) => `${words(key, comparison.found(key) ?? '')}: was not ours to have`);
  const missing = add
    .slice(0, EXAMPLES)
    .filter(([key]) => comparison.found(key) === undefined)
    .map(([key, data]) => `${words(key, data)}: was missing`);
  return [...strays, ...missing];
}

const digestOf = (table: NftTable): string =>
  createHash('sha256')
    .update(JSON.stringify([table.sets, table.chains]))
    .digest('base64url');
const keyOf = (table: TableName): string => `vips/${table}`;
