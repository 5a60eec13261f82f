/**
 * A table as the script that makes it so.
 *
 * `add table; delete table; table {...}` is one transaction of `nft -f`, so packets see either the old table or the
 * new one. The first `add` makes the `delete` succeed when there is no table yet: nft 1.0.6 does not know `destroy`.
 * Elements follow in commands of bounded length, in the same transaction.
 */
import { assert } from '../../base/assert.ts';
import type { NftChain, NftElement, NftSet, NftTable, NftTableRef, NftType, NftValue } from './types.ts';

/** Elements of one `add element` command: keeps nft's parser from copying one giant list around. */
const ELEMENTS_PER_COMMAND = 1000;

/** The script in pieces, so that a table of 100,000 elements need not be one string made in one go. */
export function* renderTable(table: NftTable): Generator<string, void> {
  const ref = renderRef(table);
  yield `add table ${ref}\ndelete table ${ref}\ntable ${ref} {\n`;
  for (const set of table.sets) yield renderSet(set);
  for (const chain of table.chains) yield renderChain(chain);
  yield '}\n';
  for (const set of table.sets) yield* renderElements(table, set, set.elements);
}

/** Removes the table whether or not it exists. */
export function renderRemoval(ref: NftTableRef): string {
  return `add table ${renderRef(ref)}\ndelete table ${renderRef(ref)}\n`;
}

export function renderRef({ family, name }: NftTableRef): string {
  return `${family} ${identifier(name)}`;
}

function renderSet(set: NftSet): string {
  const flags = set.interval === true ? '\t\tflags interval\n' : '';
  const counter = set.counter === true ? '\t\tcounter\n' : '';
  const kind = set.data === undefined ? 'set' : 'map';
  return `\t${kind} ${identifier(set.name)} {\n\t\t${renderType(set)}\n${flags}${counter}\t}\n`;
}

/** By types; by example where one of them has no name. */
function renderType({ key, data }: NftSet): string {
  assert(data?.includes('slot') !== true, 'slots are in keys: nft 1.0.6 aborts over one in the data');
  const isNamed = !key.includes('slot');
  const words = (types: readonly NftType[]): string =>
    types.map((type) => (isNamed ? type : EXAMPLES[type])).join(' . ');
  return `${isNamed ? 'type' : 'typeof'} ${words(key)}${data === undefined ? '' : ` : ${words(data)}`}`;
}

/** An expression of each type. */
const EXAMPLES: Readonly<Record<NftType, string>> = {
  ipv4_addr: 'ip daddr',
  ipv6_addr: 'ip6 daddr',
  inet_proto: 'meta l4proto',
  inet_service: 'th dport',
  mark: 'meta mark',
  classid: 'meta priority',
  slot: 'numgen random mod 2',
  ifname: 'iifname',
  ether_addr: 'ether daddr',
};

function renderChain({ name, base, rules }: NftChain): string {
  const head =
    base === undefined
      ? ''
      : `\t\ttype ${base.type} hook ${base.hook} priority ${base.priority}; policy ${base.policy ?? 'accept'};\n`;
  return `\tchain ${identifier(name)} {\n${head}${rules.map(renderRule).join('')}\t}\n`;
}

function renderRule(rule: string): string {
  assert(rule.trim() !== '' && !/[\n;]/.test(rule), `one rule, not "${rule}"`);
  return `\t\t${rule}\n`;
}

function* renderElements(
  ref: NftTableRef,
  set: NftSet,
  elements: readonly NftElement[],
): Generator<string, void> {
  for (let at = 0; at < elements.length; at += ELEMENTS_PER_COMMAND) {
    const some = elements.slice(at, at + ELEMENTS_PER_COMMAND).map((element) => renderElement(set, element));
    yield `add element ${renderRef(ref)} ${identifier(set.name)} { ${some.join(', ')} }\n`;
  }
}

function renderElement(set: NftSet, { key, data }: NftElement): string {
  assert((set.data === undefined) === (data === undefined), `${set.name} has data exactly when it is a map`);
  const text = renderValues(set.key, key);
  return set.data === undefined ? text : `${text} : ${renderValues(set.data, data ?? [])}`;
}

function renderValues(types: readonly NftType[], values: readonly NftValue[]): string {
  assert(types.length === values.length, `${types.length} components, not ${values.length}`);
  return values.map((value, i) => renderValue(types[i], value)).join(' . ');
}

function renderValue(type: NftType | undefined, value: NftValue): string {
  if (type === 'ifname') return quoted(String(value));
  if (type === 'classid')
    return `${(Number(value) >>> 16).toString(16)}:${(Number(value) & 0xffff).toString(16)}`;
  return String(value);
}

function quoted(text: string): string {
  assert(!/["\\\n*]/.test(text), `interface name ${text} without quotes, backslashes and wildcards`);
  return `"${text}"`;
}

/** nft's scanner takes these as names; its keywords are not checked here, nft refuses them itself. */
function identifier(name: string): string {
  assert(/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(name), `"${name}" is an nft identifier`);
  return name;
}
