/**
 * nft's own rules (`nft -j list table ...`, libnftables-json(5)) as steps.
 *
 * Purpose: what decides whether a packet passes is read; counters, logs and the like fall away; what is not understood
 * is a condition of which it cannot be told whether it holds, named in nft's words.
 */
import { z } from 'zod';
import { bare, compare, contains, type NamedSets } from './compare.ts';
import { expressionWords, statementWords } from './nft-words.ts';
import { ABSENT, names, readField, UNKNOWN, type FilterPacket, type Operand } from './packet.ts';
import type { Choice, Step, Verdict } from './rules.ts';

type Statement = Readonly<Record<string, unknown>>;

/** Matching or not, these say nothing about where the packet goes. */
const SILENT = new Set([
  'counter',
  'log',
  'notrack',
  'flow',
  'dup',
  'secmark',
  'ct helper',
  'ct timeout',
  'last',
]);
/** The packet goes on, with another source. */
const SOURCE_NAT = new Set(['masquerade', 'snat']);
const PROXIES = new Set(['queue', 'tproxy', 'synproxy', 'fwd']);

export function ruleSteps(statements: readonly Statement[], sets: NamedSets): readonly Step[] {
  return statements.flatMap((statement): readonly Step[] => {
    const [entry] = Object.entries(statement);
    return entry === undefined ? [] : (statementStep(...entry, sets) ?? []);
  });
}

function statementStep(kind: string, value: unknown, sets: NamedSets): Step[] | undefined {
  if (SILENT.has(kind)) return undefined;
  const verdict = parseVerdict(kind, value);
  if (verdict !== undefined) return [{ kind: 'verdict', verdict }];
  switch (kind) {
    case 'match':
      return [matchStep(value, sets)];
    case 'vmap':
      return [choiceStep(value, sets)];
    case 'mangle':
      return markStep(value);
    case 'set':
      return updateStep(value);
    case 'xt':
      return isComment(value) ? undefined : [unknownStep(kind, value)];
    default:
      return [unknownStep(kind, value)];
  }
}

export function unknownStep(kind: string, value: unknown): Step {
  return { kind: 'condition', what: statementWords(kind, value), holds: () => undefined };
}

const jump = z.object({ target: z.string() });
const dnat = z.object({ addr: z.string().optional(), port: z.int().optional() });
const XT_TARGETS: Readonly<Record<string, Verdict>> = {
  REJECT: { kind: 'reject' },
  MASQUERADE: { kind: 'accept' },
  SNAT: { kind: 'accept' },
  DNAT: { kind: 'dnat' },
};
const target = z.object({ type: z.literal('target'), name: z.string() });

function parseVerdict(kind: string, value: unknown): Verdict | undefined {
  if (kind === 'accept' || kind === 'drop' || kind === 'reject' || kind === 'return') return { kind };
  if (kind === 'jump' || kind === 'goto') {
    const chain = jump.safeParse(value).data?.target;
    return chain === undefined ? undefined : { kind, chain };
  }
  if (SOURCE_NAT.has(kind)) return { kind: 'accept' };
  if (PROXIES.has(kind)) return { kind: 'handed-over', to: kind };
  if (kind === 'redirect') return { kind: 'dnat' };
  if (kind === 'xt') {
    const name = target.safeParse(value).data?.name;
    return name === undefined ? undefined : XT_TARGETS[name];
  }
  return kind === 'dnat' ? parseDnat(value) : undefined;
}

function parseDnat(value: unknown): Verdict {
  const { data: to } = dnat.safeParse(value);
  if (to === undefined) return { kind: 'dnat' };
  return {
    kind: 'dnat',
    to: {
      ...(to.addr === undefined ? {} : { address: to.addr }),
      ...(to.port === undefined ? {} : { port: to.port }),
    },
  };
}

const matchStatement = z.object({ op: z.string(), left: z.unknown(), right: z.unknown() });

function matchStep(value: unknown, sets: NamedSets): Step {
  const { data } = matchStatement.safeParse(value);
  if (data === undefined) return unknownStep('match', value);
  const what = statementWords('match', value);
  return {
    kind: 'condition',
    what,
    holds: (packet) => compare(readExpression(packet, data.left), data.op, data.right, sets),
  };
}

const vmap = z.object({
  key: z.unknown(),
  data: z.union([z.string(), z.object({ set: z.array(z.unknown()) })]),
});
const entries = z.array(z.tuple([z.unknown(), z.record(z.string(), z.unknown())]));

/** No entry for it = the rule does not apply. */
function choiceStep(value: unknown, sets: NamedSets): Step {
  const { data } = vmap.safeParse(value);
  if (data === undefined) return unknownStep('vmap', value);
  const what = `${expressionWords(data.key)} vmap`;
  const elements = typeof data.data === 'string' ? sets.get(data.data.slice(1)) : data.data.set;
  const known = entries.safeParse(elements).data;
  if (known === undefined) return { kind: 'condition', what, holds: () => undefined };
  return { kind: 'choice', what, choose: (packet) => choose(readExpression(packet, data.key), known, sets) };
}

function choose(operand: Operand, elements: z.infer<typeof entries>, sets: NamedSets): Choice {
  const possible: { readonly verdict: Verdict; readonly certain: boolean }[] = [];
  for (const [key, data] of elements) {
    const holds = contains(operand, bare(key), sets);
    const [entry] = Object.entries(data);
    const verdict = entry && parseVerdict(...entry);
    if (holds === false || verdict === undefined) continue;
    if (holds === true) return [{ verdict, certain: true }];
    possible.push({ verdict, certain: false });
  }
  return possible;
}

const mangle = z.object({
  key: z.object({ meta: z.object({ key: z.literal('mark') }) }),
  value: z.unknown(),
});

/** `undefined` = sets something else than the packet's mark. */
function markStep(value: unknown): Step[] | undefined {
  const { data } = mangle.safeParse(value);
  if (data === undefined) return undefined;
  return [typeof data.value === 'number' ? { kind: 'mark', value: data.value } : { kind: 'mark' }];
}

const update = z.object({ stmt: z.array(z.unknown()).min(1) });

/** Adding to a set says nothing; a limit that is kept there for each element does. */
function updateStep(value: unknown): Step[] | undefined {
  return update.safeParse(value).success ? [unknownStep('set', value)] : undefined;
}

const comment = z.object({ type: z.literal('match'), name: z.literal('comment') });
const isComment = (value: unknown): boolean => comment.safeParse(value).success;

const masked = z.object({ '&': z.tuple([z.unknown(), z.unknown()]) });
const joined = z.object({ concat: z.array(z.unknown()) });

function readExpression(packet: FilterPacket, expression: unknown): Operand {
  const parts = joined.safeParse(expression).data?.concat;
  if (parts !== undefined) return tuple(parts.map((part) => readExpression(packet, part)));
  const mask = masked.safeParse(expression).data?.['&'];
  if (mask !== undefined) return applyMask(readExpression(packet, mask[0]), mask[1]);
  const words = expressionWords(expression);
  return words.startsWith('fib ') ? readRouting(packet, words) : readField(packet, words);
}

function tuple(operands: readonly Operand[]): Operand {
  return operands.some(({ kind }) => kind === 'absent') ? ABSENT : { kind: 'tuple', operands };
}

export function applyMask(operand: Operand, mask: unknown): Operand {
  if (operand.kind === 'absent') return ABSENT;
  if (operand.kind === 'number' && operand.from === operand.to && typeof mask === 'number') {
    const value = (operand.from & mask) >>> 0;
    return { kind: 'number', from: value, to: value };
  }
  if (operand.kind !== 'flags' || operand.known !== undefined) return UNKNOWN;
  const kept = [mask].flat().map(String);
  return { kind: 'flags', flags: operand.flags.filter((flag) => kept.includes(flag)) };
}

/** `false` and `true` are what nft's JSON has for `missing` and `exists`. */
function readRouting(packet: FilterPacket, words: string): Operand {
  switch (words) {
    case 'fib daddr type':
      return names(packet.addressType(packet.destination));
    case 'fib saddr type':
      return names(packet.addressType(packet.source));
    case 'fib saddr . iif oif':
    case 'fib saddr . mark . iif oif':
      return names(String(packet.hasReversePath()));
    default:
      return UNKNOWN;
  }
}
