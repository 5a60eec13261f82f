/**
 * nftables in memory: tables with sets, elements, chains and a generation, for tests of what is above.
 *
 * It keeps and compares; it does not understand rules. It passes nft/contract.ts.
 */
import { InterfaceAddress, IpAddress, Prefix } from '../base/ip.ts';
import { kernelErrorOf } from './errno.ts';
import type { ErrnoCode } from './types.ts';
import { pack, unpack } from './nft/packed.ts';
import type {
  Nft,
  NftElement,
  NftElementChange,
  NftPackedChange,
  NftPackedElements,
  NftPackedSink,
  NftSet,
  NftTable,
  NftTableRef,
} from './nft/types.ts';

export type NftFailureKind = 'nft-replace' | 'nft-remove' | 'nft-change' | 'nft-run' | 'nft-read';
type Code = Exclude<ErrnoCode, 'other'>;

interface HeldTable {
  readonly table: NftTable;
  readonly fingerprint: string;
  readonly sets: ReadonlyMap<string, { readonly set: NftSet; readonly elements: Map<string, NftElement> }>;
}

export class FakeNft implements Nft {
  /** Scripts given to `run`, in order. */
  readonly scripts: string[] = [];
  /** What `list` answers, by its arguments joined with spaces; tables held here need no entry. */
  readonly listings = new Map<string, unknown>();
  readonly #tables = new Map<string, HeldTable>();
  readonly #failures = new Map<NftFailureKind, Code[]>();
  readonly #onForeignChange: (text: string) => void;
  #generation = 1;

  constructor(components: { readonly onForeignChange?: (text: string) => void } = {}) {
    this.#onForeignChange = components.onForeignChange ?? (() => undefined);
  }

  failNext(kind: NftFailureKind, code: Code, times = 1): void {
    const queue = this.#failures.get(kind) ?? [];
    queue.push(...Array.from({ length: times }, () => code));
    this.#failures.set(kind, queue);
  }

  /** `nft flush ruleset`, by somebody else. */
  flush(): void {
    this.#tables.clear();
    this.#generation++;
    this.#onForeignChange('nft flush ruleset');
  }

  /** Somebody else edits a rule: the fingerprint is no longer what `replace` answered. */
  disturb(ref: NftTableRef): void {
    const held = this.#tables.get(keyOf(ref));
    if (held !== undefined) this.#tables.set(keyOf(ref), { ...held, fingerprint: `${held.fingerprint}!` });
    this.#generation++;
    this.#onForeignChange(`nft disturbed ${ref.name}`);
  }

  /** The table as it was last written, for tests. */
  table(ref: NftTableRef): NftTable | undefined {
    const held = this.#tables.get(keyOf(ref));
    if (held === undefined) return undefined;
    const sets = [...held.sets.values()].map(({ set, elements }) => ({
      ...set,
      elements: [...elements.values()],
    }));
    return { ...held.table, sets };
  }

  async replace(table: NftTable): Promise<string> {
    this.#fail('nft-replace', `nft replace table ${table.family} ${table.name}`);
    const sets = new Map(
      table.sets.map(({ elements, ...set }) => {
        const held = new Map(elements.map((element) => [elementId(element), normal(set, element)] as const));
        return [set.name, { set, elements: held }] as const;
      }),
    );
    const declarations = [...sets.values()].map(({ set }) => JSON.stringify(set)).sort();
    const fingerprint = JSON.stringify([declarations, table.chains]);
    this.#tables.set(keyOf(table), { table, fingerprint, sets });
    this.#generation++;
    return fingerprint;
  }

  async remove(table: NftTableRef): Promise<void> {
    this.#fail('nft-remove', `nft delete table ${table.family} ${table.name}`);
    if (this.#tables.delete(keyOf(table))) this.#generation++;
  }

  async fingerprint(table: NftTableRef): Promise<string | undefined> {
    this.#fail('nft-read', `nft list table ${table.family} ${table.name}`);
    return this.#tables.get(keyOf(table))?.fingerprint;
  }

  async elements(table: NftTableRef, set: NftSet): Promise<readonly NftElement[] | undefined> {
    this.#fail('nft-read', `nft list set ${table.family} ${table.name} ${set.name}`);
    const held = this.#tables.get(keyOf(table))?.sets.get(set.name);
    return held === undefined ? undefined : [...held.elements.values()];
  }

  async change(table: NftTableRef, changes: readonly NftElementChange[]): Promise<void> {
    this.#fail('nft-change', `nft change elements of table ${table.family} ${table.name}`);
    const next = new Map<string, Map<string, NftElement>>();
    const real = changes.filter(({ add, remove }) => add.length > 0 || remove.length > 0);
    for (const { set, remove } of real) {
      const held = this.#tables.get(keyOf(table))?.sets.get(set.name);
      if (held === undefined) throw kernelErrorOf(`nft add element ${table.name} ${set.name}`, 'ENOENT');
      const elements = next.get(set.name) ?? new Map(held.elements);
      next.set(set.name, elements);
      for (const element of remove)
        if (!elements.delete(elementId(element)))
          throw kernelErrorOf(`nft delete element ${table.name} ${set.name} ${elementId(element)}`, 'ENOENT');
    }
    for (const { set, add } of real)
      for (const element of add) addElement(table, set, next.get(set.name) ?? new Map(), element);
    for (const [name, elements] of next)
      replaceAll(this.#tables.get(keyOf(table))?.sets.get(name)?.elements, elements);
    if (real.length > 0) this.#generation++;
  }

  async changePacked(table: NftTableRef, changes: readonly NftPackedChange[]): Promise<void> {
    const unpacked = changes.map(({ set: name, remove, add }) => {
      const set = this.#tables.get(keyOf(table))?.sets.get(name)?.set;
      if (set === undefined) throw kernelErrorOf(`nft add element ${table.name} ${name}`, 'ENOENT');
      const { data, ...keyed } = set;
      return {
        set,
        remove: remove.map((key) => unpack(keyed, key, '')),
        add: add.map(([key, value]) => unpack(set, key, value)),
      };
    });
    await this.change(table, unpacked);
  }

  async packed(table: NftTableRef, name: string): Promise<NftPackedElements | undefined> {
    this.#fail('nft-read', `nft list set ${table.family} ${table.name} ${name}`);
    const held = this.#tables.get(keyOf(table))?.sets.get(name);
    if (held === undefined) return undefined;
    const elements = new Map(Array.from(held.elements.values(), (each) => pack(held.set, each)));
    const counted = held.set.counter === true ? elements.keys() : [];
    return { elements, packets: new Map(Array.from(counted, (key) => [key, 0])) };
  }

  async readPacked(table: NftTableRef, name: string, sink: NftPackedSink): Promise<boolean> {
    const read = await this.packed(table, name);
    sink.restart();
    for (const [key, data] of read?.elements ?? []) sink.take(key, data);
    return read !== undefined;
  }

  async generation(): Promise<number> {
    this.#fail('nft-read', 'read the nftables generation');
    return this.#generation;
  }

  async run(script: string): Promise<void> {
    this.#fail('nft-run', 'nft -f -');
    this.scripts.push(script);
    this.#generation++;
  }

  async list(args: readonly string[]): Promise<unknown> {
    const what = args.join(' ');
    this.#fail('nft-read', `nft -j ${what}`);
    if (this.listings.has(what)) return this.listings.get(what);
    if (what === 'list tables')
      return { nftables: [...this.#tables.values()].map(({ table }) => ({ table: ref(table) })) };
    const name = /^list table (\S+ \S+)$/.exec(what)?.[1];
    const held = name === undefined ? undefined : this.#tables.get(name);
    if (held === undefined) throw kernelErrorOf(`nft -j ${what}`, 'ENOENT');
    return { nftables: [{ table: ref(held.table) }] };
  }

  #fail(kind: NftFailureKind, what: string): void {
    const code = this.#failures.get(kind)?.shift();
    if (code !== undefined) throw kernelErrorOf(what, code);
  }
}

function keyOf({ family, name }: NftTableRef): string {
  return `${family} ${name}`;
}

function ref({ family, name }: NftTableRef): NftTableRef {
  return { family, name };
}

/** Elements of one set are the same when their keys are. */
function elementId(element: NftElement): string {
  return element.key.map((value) => asPrefixText(value)).join(' . ');
}

function asPrefixText(value: NftElement['key'][number]): string {
  return value instanceof IpAddress
    ? String(new InterfaceAddress(value, value.family === 4 ? 32 : 128))
    : String(value);
}

/** Interval sets give back addresses as prefixes of full length. */
function normal(set: NftSet, element: NftElement): NftElement {
  if (set.interval !== true) return element;
  const key = element.key.map((value) =>
    value instanceof IpAddress ? new Prefix(value, value.family === 4 ? 32 : 128) : value,
  );
  return { ...element, key };
}

/** Adding a key again is no failure unless a map would have to change its data. */
function addElement(
  table: NftTableRef,
  set: NftSet,
  elements: Map<string, NftElement>,
  element: NftElement,
): void {
  const id = elementId(element);
  const held = elements.get(id);
  if (held !== undefined && String(held.data) !== String(element.data))
    throw kernelErrorOf(`nft add element ${table.name} ${set.name} ${id}`, 'EEXIST');
  elements.set(id, normal(set, element));
}

function replaceAll(into: Map<string, NftElement> | undefined, from: ReadonlyMap<string, NftElement>): void {
  if (into === undefined) return;
  into.clear();
  for (const [id, element] of from) into.set(id, element);
}
