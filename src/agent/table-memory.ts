/**
 * What is known of our nft table, so that an untouched ruleset costs one small message per round.
 *
 * The ruleset's generation counts every transaction of the namespace: the same one means that nobody has touched
 * anything. Otherwise the fingerprint and then the elements are compared. An agent that has just
 * started knows no fingerprint and replaces the table once, atomically.
 */
import type { Nft, NftElement, NftTable } from '../kernel/nft/types.ts';
import { TABLE_REF } from '../overlay/ruleset.ts';
import type { ObservedTable } from '../overlay/step.ts';

export class TableMemory {
  readonly #nft: Nft;
  #fingerprint: string | undefined;
  #rules: string | undefined;
  #generation: number | undefined;
  #seen: ObservedTable = { exists: false, intact: false, elements: new Map() };

  constructor(components: { readonly nft: Nft }) {
    this.#nft = components.nft;
  }

  async observe(wanted: NftTable | undefined): Promise<ObservedTable> {
    // Read first: a change made while the rest is read shows as a newer generation in the next round.
    const generation = await this.#nft.generation();
    if (generation !== this.#generation) {
      this.#seen = await this.#look(wanted);
      this.#generation = generation;
    }
    return { ...this.#seen, intact: this.#seen.intact && this.#rules === rulesOf(wanted) };
  }

  /** Performs one transaction; afterwards the table is known to be `table`, unless somebody else came between. */
  async replace(table: NftTable): Promise<void> {
    this.#fingerprint = await this.#count(() => this.#nft.replace(table));
    this.#rules = rulesOf(table);
    this.#seen = knownTable(table);
  }

  async change(table: NftTable, changes: Parameters<Nft['change']>[1]): Promise<void> {
    await this.#count(() => this.#nft.change(TABLE_REF, changes));
    this.#seen = knownTable(table);
  }

  async remove(): Promise<void> {
    this.#generation = undefined;
    this.#fingerprint = undefined;
    await this.#nft.remove(TABLE_REF);
  }

  async #look(wanted: NftTable | undefined): Promise<ObservedTable> {
    const fingerprint = await this.#nft.fingerprint(TABLE_REF);
    const intact = fingerprint !== undefined && fingerprint === this.#fingerprint;
    const elements = new Map<string, readonly NftElement[]>();
    if (intact)
      for (const set of wanted?.sets ?? []) {
        const found = await this.#nft.elements(TABLE_REF, set);
        if (found !== undefined) elements.set(set.name, found);
      }
    return { exists: fingerprint !== undefined, intact, elements };
  }

  /** A failed or interrupted transaction leaves nothing known. */
  async #count<T>(transaction: () => Promise<T>): Promise<T> {
    const looked = this.#generation;
    this.#generation = undefined;
    const result = await transaction();
    const after = await this.#nft.generation();
    if (looked !== undefined && after === looked + 1) this.#generation = after;
    return result;
  }
}

/** Chains and set declarations: what a change of elements does not touch. */
function rulesOf(table: NftTable | undefined): string {
  if (table === undefined) return '';
  return JSON.stringify([table.chains, table.sets.map(({ elements: _, ...declaration }) => declaration)]);
}

function knownTable(table: NftTable): ObservedTable {
  return {
    exists: true,
    intact: true,
    elements: new Map(table.sets.map((set) => [set.name, set.elements])),
  };
}
