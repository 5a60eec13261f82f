/**
 * Rules of other people's tables as values: what the tracer follows a packet through.
 *
 * nft's and iptables' rules become the same: steps that are taken in order until one does not hold or decides.
 */
import type { FilterPacket } from './packet.ts';

export const HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const;
export type Hook = (typeof HOOKS)[number];

/** `undefined` = cannot be told. */
export type Ternary = boolean | undefined;

export type TableFamily = 'ip' | 'ip6' | 'inet';

/** Where something is decided. */
export interface Site {
  readonly family: TableFamily;
  readonly table: string;
  readonly chain: string;
  /** Absent = the chain's policy. A legacy rule has no handle, but a number. */
  readonly rule?: { readonly handle: number } | { readonly number: number };
  /** True = not in nftables but in the older xtables. */
  readonly legacy: boolean;
}

export interface Translation {
  readonly address?: string;
  readonly port?: number;
}

export type Verdict =
  | { readonly kind: 'accept' | 'drop' | 'reject' | 'return' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  /** `to` absent = where to cannot be told. */
  | { readonly kind: 'dnat'; readonly to?: Translation }
  /** What comes of it is decided elsewhere: a program that reads a queue, a proxy, an unknown target. */
  | { readonly kind: 'handed-over'; readonly to: string };

export type Step =
  | { readonly kind: 'condition'; readonly what: string; holds(packet: FilterPacket): Ternary }
  | { readonly kind: 'verdict'; readonly verdict: Verdict }
  | { readonly kind: 'choice'; readonly what: string; choose(packet: FilterPacket): Choice }
  /** `value` absent = what it sets the mark to cannot be told. */
  | { readonly kind: 'mark'; readonly value?: number };

/** Of a verdict map: those that it may be, each certain or not. */
export type Choice = readonly { readonly verdict: Verdict; readonly certain: boolean }[];

export interface FilterRule {
  readonly rule: NonNullable<Site['rule']>;
  readonly steps: readonly Step[];
}

export interface FilterChain {
  readonly name: string;
  readonly rules: readonly FilterRule[];
  /** Present = the kernel calls it. */
  readonly base?: {
    readonly type: 'filter' | 'nat' | 'route';
    readonly hook: Hook;
    readonly priority: number;
    readonly policy: 'accept' | 'drop';
  };
}

export interface FilterTable {
  readonly family: TableFamily;
  readonly name: string;
  readonly legacy: boolean;
  readonly chains: ReadonlyMap<string, FilterChain>;
}

export interface Filters {
  readonly tables: readonly FilterTable[];
  /** What there is that could not be read, and what helps. */
  readonly unreadable: readonly string[];
}

export const NO_FILTERS: Filters = { tables: [], unreadable: [] };

/** In nft's words, so that `nft -a list chain ...` shows it. */
export function siteText({ family, table, chain, rule, legacy }: Site): string {
  const program = family === 'ip6' ? 'ip6tables-legacy' : 'iptables-legacy';
  const place = legacy
    ? `${program} table ${table} chain ${chain}`
    : `table ${family} ${table} chain ${chain}`;
  if (rule === undefined) return `the policy of ${place}`;
  return `${place} rule ${'handle' in rule ? `handle ${rule.handle}` : `number ${rule.number}`}`;
}
