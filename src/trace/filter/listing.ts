/** What was read of other people's tables, as `Filters`. */
import { z } from 'zod';
import {
  HOOKS,
  type FilterChain,
  type FilterRule,
  type Filters,
  type FilterTable,
  type Step,
} from './rules.ts';
import { parseSaved, type SavedTable } from './iptables-rules.ts';
import { ruleSteps } from './nft-rules.ts';
import type { NamedSets } from './compare.ts';

export interface FilterListing {
  /** Answers of `nft -j list table ...`, of any number of tables. */
  readonly tables: readonly unknown[];
  /** Of iptables-nft: the same rules as in tables `ip` and `ip6`, with the extensions that nft's JSON only names. */
  readonly saved: readonly SavedText[];
  /** Of the older xtables. */
  readonly legacy: readonly SavedText[];
  readonly unreadable: readonly string[];
}

export interface SavedText {
  readonly family: 'ip' | 'ip6';
  readonly text: string;
}

const tableRef = { family: z.enum(['ip', 'ip6', 'inet']), table: z.string() };
const tableObject = z.object({ table: z.object({ family: tableRef.family, name: z.string() }) });
const chainObject = z.object({
  chain: z.object({
    ...tableRef,
    name: z.string(),
    type: z.enum(['filter', 'nat', 'route']).optional(),
    hook: z.string().optional(),
    prio: z.number().optional(),
    policy: z.enum(['accept', 'drop']).default('accept'),
  }),
});
const ruleObject = z.object({
  rule: z.object({
    ...tableRef,
    chain: z.string(),
    handle: z.int(),
    expr: z.array(z.record(z.string(), z.unknown())).default([]),
  }),
});
const setBody = z.object({ ...tableRef, name: z.string(), elem: z.array(z.unknown()).default([]) });
const setObject = z.union([z.object({ set: setBody }), z.object({ map: setBody })]);
const listing = z.object({ nftables: z.array(z.unknown()) });

/** `@name` in rules of `table` is `key(table, name)`. */
type Parsed<T> = ReadonlyMap<string, readonly T[]>;

export function parseFilters({ tables, saved, legacy, unreadable }: FilterListing): Filters {
  const objects = tables.flatMap((answer) => listing.safeParse(answer).data?.nftables ?? []);
  const read = <T>(schema: z.ZodType<T>): readonly T[] =>
    objects.flatMap((object) => schema.safeParse(object).data ?? []);
  const rules = grouped(read(ruleObject).map(({ rule }) => rule));
  const chains = grouped(read(chainObject).map(({ chain }) => chain));
  const sets = grouped(read(setObject).map((object) => ('set' in object ? object.set : object.map)));
  const texts = saved.map(({ family, text }) => ({ family, tables: parseSaved(text) }));
  const native = read(tableObject).map(({ table: { family, name } }): FilterTable => {
    const key = `${family} ${name}`;
    const named: NamedSets = new Map((sets.get(key) ?? []).map((set) => [set.name, set.elem]));
    const twin = texts.find((each) => each.family === family)?.tables.find((each) => each.name === name);
    const own = (rules.get(key) ?? []).map((rule) => ({
      chain: rule.chain,
      handle: rule.handle,
      steps: ruleSteps(rule.expr, named),
      isExtended: rule.expr.some((statement) => 'xt' in statement),
    }));
    return {
      family,
      name,
      legacy: false,
      chains: byName(
        (chains.get(key) ?? []).map((chain) => ({
          name: chain.name,
          ...baseOf(chain),
          rules: withExtensions(
            own.filter((rule) => rule.chain === chain.name),
            twin,
          ),
        })),
      ),
    };
  });
  const older = legacy.flatMap(({ family, text }) =>
    parseSaved(text).map((table) => legacyTable(family, table)),
  );
  return { tables: [...older, ...native], unreadable };
}

function grouped<T extends { readonly family: string; readonly table: string }>(
  all: readonly T[],
): Parsed<T> {
  const groups = new Map<string, T[]>();
  for (const each of all) {
    const key = `${each.family} ${each.table}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [each]);
    else group.push(each);
  }
  return groups;
}

const byName = (chains: readonly FilterChain[]): FilterTable['chains'] =>
  new Map(chains.map((chain) => [chain.name, chain]));

/** Chains of hooks that no packet of ours passes, as `ingress`, are called by nobody here. */
function baseOf({
  type,
  hook: name,
  prio: priority = 0,
  policy,
}: z.infer<typeof chainObject>['chain']): Pick<FilterChain, 'base'> {
  const hook = HOOKS.find((each) => each === name);
  return type === undefined || hook === undefined ? {} : { base: { type, hook, priority, policy } };
}

interface OwnRule {
  readonly chain: string;
  readonly handle: number;
  readonly steps: readonly Step[];
  readonly isExtended: boolean;
}

/** By position, as iptables knows no handles: only where both programs see equally many rules. */
function withExtensions(own: readonly OwnRule[], twin: SavedTable | undefined): readonly FilterRule[] {
  const chain = own[0]?.chain;
  const saved = twin?.rules.filter((rule) => rule.chain === chain) ?? [];
  const fits = saved.length === own.length;
  return own.map(({ handle, steps, isExtended }, index) => ({
    rule: { handle },
    steps: (isExtended && fits ? saved[index]?.steps : undefined) ?? steps,
  }));
}

/** ip_tables' hooks and priorities (include/uapi/linux/netfilter_ipv4.h). */
const LEGACY_PRIORITY: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  filter: 0,
  security: 50,
};
const NAT_PRIORITY = { prerouting: -100, output: -100, postrouting: 100, input: 100, forward: 0 } as const;

function legacyTable(family: 'ip' | 'ip6', { name, policies, chains, rules }: SavedTable): FilterTable {
  return {
    family,
    name,
    legacy: true,
    chains: byName(
      chains.map((chain) => {
        const hook = HOOKS.find((each) => each.toUpperCase() === chain);
        const policy = policies.get(chain);
        const own = rules.filter((rule) => rule.chain === chain);
        return {
          name: chain,
          rules: own.map(({ steps }, index) => ({ rule: { number: index + 1 }, steps })),
          ...(hook === undefined || policy === undefined
            ? {}
            : {
                base: {
                  type: name === 'nat' ? 'nat' : 'filter',
                  hook,
                  priority: name === 'nat' ? NAT_PRIORITY[hook] : (LEGACY_PRIORITY[name] ?? 0),
                  policy,
                },
              }),
        };
      }),
    ),
  };
}
