/** What is read from a packet, compared with what a rule says, in the JSON of nft (libnftables-json(5)). */
import { z } from 'zod';
import { compareIp, parseIp, parsePrefix, type IpAddress } from '../../base/ip.ts';
import type { Operand } from './packet.ts';
import type { Ternary } from './rules.ts';

/** The elements of a table's named sets and maps. */
export type NamedSets = ReadonlyMap<string, readonly unknown[]>;

export const not = (value: Ternary): Ternary => (value === undefined ? undefined : !value);

/** True where one of them is, not known where one may be. */
export function some(values: Iterable<Ternary>): Ternary {
  let answer: Ternary = false;
  for (const value of values) {
    if (value === true) return true;
    if (value === undefined) answer = undefined;
  }
  return answer;
}

function every(values: Iterable<Ternary>): Ternary {
  return not(some(Array.from(values, not)));
}

/** `left OP right`. What is absent compares with nothing, not even as unequal. */
export function compare(operand: Operand, op: string, right: unknown, sets: NamedSets): Ternary {
  if (operand.kind === 'absent') return false;
  switch (op) {
    case '==':
      return equals(operand, right, sets);
    case 'in':
      return contains(operand, right, sets);
    case '!=':
      return not(equals(operand, right, sets));
    case '!':
      return not(contains(operand, right, sets));
    default:
      return inOrder(operand, op, right);
  }
}

function inOrder(operand: Operand, op: string, right: unknown): Ternary {
  if (operand.kind !== 'number' || typeof right !== 'number') return undefined;
  const { from, to } = operand;
  switch (op) {
    case '<':
      return within(from, to, -Infinity, right - 1);
    case '<=':
      return within(from, to, -Infinity, right);
    case '>':
      return within(from, to, right + 1, Infinity);
    case '>=':
      return within(from, to, right, Infinity);
    default:
      return undefined;
  }
}

/** A number that is somewhere between the first two: is it between the others? */
function within(from: number, to: number, low: number, high: number): Ternary {
  if (from >= low && to <= high) return true;
  return to < low || from > high ? false : undefined;
}

/** Of flags: exactly these. */
function equals(operand: Operand, right: unknown, sets: NamedSets): Ternary {
  if (operand.kind !== 'flags' || elementsOf(right, sets) !== undefined)
    return contains(operand, right, sets);
  if (operand.known !== undefined) return undefined;
  const wanted = Array.isArray(right) ? right.map(String) : right === 0 ? [] : [String(right)];
  return wanted.length === operand.flags.length && wanted.every((flag) => operand.flags.includes(flag));
}

/** Of flags: one of these. */
export function contains(operand: Operand, right: unknown, sets: NamedSets): Ternary {
  if (operand.kind === 'absent') return false;
  const elements = elementsOf(right, sets);
  if (elements !== undefined) return some(membership(operand, elements, sets));
  if (typeof right === 'string' && right.startsWith('@')) return undefined;
  return isElement(operand, right, sets);
}

function* membership(operand: Operand, elements: readonly unknown[], sets: NamedSets): Generator<Ternary> {
  for (const each of elements) yield contains(operand, bare(each), sets);
}

const anonymousSet = z.object({ set: z.array(z.unknown()) });

/** `undefined` = no set, but a single value. */
function elementsOf(right: unknown, sets: NamedSets): readonly unknown[] | undefined {
  if (typeof right === 'string') return right.startsWith('@') ? sets.get(right.slice(1)) : undefined;
  return anonymousSet.safeParse(right).data?.set;
}

const wrapped = z.object({ elem: z.object({ val: z.unknown() }) });

/** An element without its counter, comment or timeout. */
export function bare(element: unknown): unknown {
  return wrapped.safeParse(element).data?.elem.val ?? element;
}

const concatenation = z.object({ concat: z.array(z.unknown()) });

function isElement(operand: Operand, element: unknown, sets: NamedSets): Ternary {
  switch (operand.kind) {
    case 'absent':
      return false;
    case 'unknown':
      return undefined;
    case 'names':
      return operand.names.includes(String(element));
    case 'device':
      return isDevice(operand.name, String(element));
    case 'address':
      return isAddress(operand.address, element);
    case 'number':
      return isNumber(operand, element);
    case 'flags':
      return some(
        (Array.isArray(element) ? element : [element]).map((flag) => hasFlag(operand, String(flag))),
      );
    case 'tuple': {
      const parts = concatenation.safeParse(element).data?.concat;
      if (parts?.length !== operand.operands.length) return undefined;
      return every(operand.operands.map((each, index) => contains(each, parts[index], sets)));
    }
  }
}

/** `eth*` means all that begin so. */
function isDevice(name: string, pattern: string): boolean {
  return pattern.endsWith('*') && !pattern.endsWith('\\*')
    ? name.startsWith(pattern.slice(0, -1))
    : name === pattern.replace('\\*', '*');
}

function hasFlag({ flags, known }: Extract<Operand, { kind: 'flags' }>, flag: string): Ternary {
  if (flags.includes(flag)) return true;
  return known === undefined || known.includes(flag) ? false : undefined;
}

const addressRange = z.object({ range: z.tuple([z.string(), z.string()]) });
const addressPrefix = z.object({ prefix: z.object({ addr: z.string(), len: z.int() }) });

function isAddress(address: IpAddress, element: unknown): Ternary {
  if (typeof element === 'string')
    return String(address) === element || parseIp(element)?.equals(address) === true;
  const range = addressRange.safeParse(element).data?.range.map(parseIp);
  const [low, high] = range ?? [];
  if (low !== undefined && high !== undefined)
    return low.family === address.family && compareIp(low, address) <= 0 && compareIp(address, high) <= 0;
  const given = addressPrefix.safeParse(element).data?.prefix;
  return given === undefined ? undefined : parsePrefix(`${given.addr}/${given.len}`)?.contains(address);
}

const numberRange = z.object({ range: z.tuple([z.number(), z.number()]) });

function isNumber({ from, to }: { readonly from: number; readonly to: number }, element: unknown): Ternary {
  if (typeof element === 'number') return within(from, to, element, element);
  const [low, high] = numberRange.safeParse(element).data?.range ?? [];
  return low === undefined || high === undefined ? undefined : within(from, to, low, high);
}
