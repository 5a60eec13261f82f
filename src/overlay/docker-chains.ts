/**
 * Other owners' nftables chains as values, from `nft -j`: just enough to know Docker's chains and our rules in them.
 *
 * iptables-nft's chains are plain nft tables `ip filter`, `ip raw` and their IPv6 twins, so nothing of iptables is
 * called. Rules are reduced to the words that matter: counters and comments fall away (an iptables-save and -restore
 * turns an nft comment into an xt match), what is not understood becomes `?`, which equals nothing of ours.
 */
import { z } from 'zod';
import { parseIp } from '../base/ip.ts';

export interface ChainRule {
  readonly handle: number;
  /** `iifname "m-dcos" jump PORTOLAN-TO` */
  readonly words: string;
}

export interface Chain {
  readonly family: 'ip' | 'ip6';
  readonly table: string;
  readonly name: string;
  /** Of base chains. */
  readonly type: string | undefined;
  readonly hook: string | undefined;
  readonly policy: string | undefined;
  readonly rules: readonly ChainRule[];
}

const family = z.enum(['ip', 'ip6']);
const chainObject = z.object({
  chain: z.object({
    family,
    table: z.string(),
    name: z.string(),
    type: z.string().optional(),
    hook: z.string().optional(),
    policy: z.string().optional(),
  }),
});
const ruleObject = z.object({
  rule: z.object({
    family,
    table: z.string(),
    chain: z.string(),
    handle: z.int(),
    expr: z.array(z.record(z.string(), z.unknown())).default([]),
  }),
});
const listing = z.object({ nftables: z.array(z.unknown()) });

/** Reads one or more answers of `nft -j list ...`; chains of other families than ip and ip6 are left out. */
export function parseChains(answers: readonly unknown[]): readonly Chain[] {
  const objects = answers.flatMap((answer) => listing.parse(answer).nftables);
  const rules = new Map<string, ChainRule[]>();
  for (const object of objects) {
    const { data } = ruleObject.safeParse(object);
    if (data === undefined) continue;
    const { family, table, chain, handle, expr } = data.rule;
    const key = `${family} ${table} ${chain}`;
    rules.set(key, [...(rules.get(key) ?? []), { handle, words: ruleWords(expr) }]);
  }
  const chains = new Map<string, Chain>();
  for (const object of objects) {
    const { data } = chainObject.safeParse(object);
    if (data === undefined) continue;
    const { family, table, name, type, hook, policy } = data.chain;
    const key = `${family} ${table} ${name}`;
    chains.set(key, { family, table, name, type, hook, policy, rules: rules.get(key) ?? [] });
  }
  return [...chains.values()];
}

function ruleWords(expr: readonly Readonly<Record<string, unknown>>[]): string {
  return expr.flatMap((statement) => statementWords(statement) ?? []).join(' ');
}

const matchStatement = z.object({ op: z.string(), left: z.unknown(), right: z.unknown() });
const jumpStatement = z.object({ target: z.string() });
const commentMatch = z.object({ type: z.literal('match'), name: z.literal('comment') });

/** `undefined` = says nothing about where the packet goes. */
function statementWords(statement: Readonly<Record<string, unknown>>): string | undefined {
  const [kind, value] = Object.entries(statement)[0] ?? ['?', undefined];
  switch (kind) {
    case 'counter':
      return undefined;
    case 'xt':
      return commentMatch.safeParse(value).success ? undefined : '?xt';
    case 'accept':
    case 'drop':
    case 'return':
      return kind;
    case 'jump':
    case 'goto':
      return `${kind} ${jumpStatement.safeParse(value).data?.target ?? '?'}`;
    case 'match':
      return matchWords(value);
    default:
      return `?${kind}`;
  }
}

function matchWords(value: unknown): string {
  const match = matchStatement.safeParse(value).data;
  const left = match && leftWords(match.left);
  const right = match && rightWords(match.right);
  if (match === undefined || left === undefined || right === undefined) return '?match';
  return match.op === '==' ? `${left} ${right}` : `${left} ${match.op} ${right}`;
}

const metaLeft = z.object({ meta: z.object({ key: z.string() }) });
const payloadLeft = z.object({ payload: z.object({ protocol: z.string(), field: z.string() }) });

function leftWords(left: unknown): string | undefined {
  const meta = metaLeft.safeParse(left).data?.meta.key;
  const payload = payloadLeft.safeParse(left).data?.payload;
  if (payload !== undefined) return `${payload.protocol} ${payload.field}`;
  return meta === 'iifname' || meta === 'oifname' ? meta : undefined;
}

const prefixRight = z.object({ prefix: z.object({ addr: z.string(), len: z.int() }) });

function rightWords(right: unknown): string | undefined {
  if (typeof right === 'string') {
    const address = parseIp(right);
    return address === undefined ? `"${right}"` : String(address);
  }
  const prefix = prefixRight.safeParse(right).data?.prefix;
  const network = prefix && parseIp(prefix.addr);
  return prefix && network && `${String(network)}/${prefix.len}`;
}
