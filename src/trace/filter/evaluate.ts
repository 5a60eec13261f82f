/**
 * One base chain and what it calls, for one packet: what becomes of it, and what cannot be told.
 *
 * Purpose: netfilter's rules of the game (jumps return, gotos do not, a policy ends it), with conditions of which it is
 * not known whether they hold: what they would lead to is gathered as doubts, and the packet goes on.
 * Invariants: a verdict is final only where nothing on the way to it was in doubt.
 */
import { assert } from '../../base/assert.ts';
import type { FilterPacket } from './packet.ts';
import type { FilterChain, FilterRule, FilterTable, Site, Step, Translation, Verdict } from './rules.ts';

/** What a rule would do, if it holds. */
export interface Doubt {
  readonly kind: 'accept' | 'drop' | 'reject' | 'dnat' | 'handed-over';
  readonly by: Site;
  /** The expression that cannot be evaluated; where it is handed over, to whom. */
  readonly because: string;
}

export type Outcome = {
  /** Before the outcome below. */
  readonly doubts: readonly Doubt[];
  /** As the last rule that set it has left it. */
  readonly mark: number | undefined;
  readonly by: Site;
} & ({ readonly kind: 'accept' | 'drop' | 'reject' } | { readonly kind: 'dnat'; readonly to: Translation });

/** Linux has 16 (NFT_JUMP_STACK_SIZE); iptables has more, and never needs them. */
const MAX_DEPTH = 64;
/** What doubts lead to is followed too: this bounds it, where large rule sets doubt at each jump. */
const MAX_RULES = 100_000;
const MAX_DOUBTS = 20;

type Final = { readonly by: Site } & (
  { readonly kind: 'accept' | 'drop' | 'reject' } | { readonly kind: 'dnat'; readonly to: Translation }
);
/** Where a chain ends: decided, or by going on behind the jump. */
type End = Final | 'return';

export function evaluate(table: FilterTable, chain: FilterChain, packet: FilterPacket): Outcome {
  assert(chain.base !== undefined, 'a chain that the kernel calls');
  const run = new Run(table, packet);
  const end = run.chain(chain, { because: undefined, depth: 0 });
  const final: Final = end === 'return' ? { kind: chain.base.policy, by: run.siteIn(chain) } : end;
  return { ...final, doubts: run.doubts, mark: run.packet.mark };
}

interface Scope {
  /** What had to hold for the packet to come here, and cannot be told; `undefined` = it surely comes here. */
  readonly because: string | undefined;
  readonly depth: number;
}

class Run {
  readonly doubts: Doubt[] = [];
  packet: FilterPacket;
  readonly #table: FilterTable;
  #rules = 0;

  constructor(table: FilterTable, packet: FilterPacket) {
    this.#table = table;
    this.packet = packet;
  }

  siteIn(chain: FilterChain, rule?: FilterRule): Site {
    const { family, name, legacy } = this.#table;
    const site: Site = { family, table: name, chain: chain.name, legacy };
    return rule === undefined ? site : { ...site, rule: rule.rule };
  }

  chain(chain: FilterChain, scope: Scope): End {
    for (const rule of chain.rules) {
      if (++this.#rules > MAX_RULES) {
        this.#doubt({ kind: 'drop', by: this.siteIn(chain, rule), because: `more than ${MAX_RULES} rules` });
        return 'return';
      }
      const end = this.#rule(chain, rule, scope);
      if (end !== 'next') return end;
    }
    return 'return';
  }

  #rule(chain: FilterChain, rule: FilterRule, scope: Scope): End | 'next' {
    /** The first expression of this very rule of which it cannot be told whether it holds. */
    let doubtful: string | undefined;
    for (const step of rule.steps) {
      const because = scope.because ?? doubtful;
      switch (step.kind) {
        case 'condition': {
          const holds = step.holds(this.packet);
          if (holds === false) return 'next';
          if (holds === undefined) doubtful ??= step.what;
          break;
        }
        case 'mark':
          this.packet = { ...this.packet, mark: because === undefined ? step.value : undefined };
          break;
        case 'verdict': {
          const end = this.#verdict(step.verdict, this.siteIn(chain, rule), { ...scope, because });
          return doubtful === undefined ? end : 'next';
        }
        case 'choice': {
          const end = this.#choice(step, this.siteIn(chain, rule), { ...scope, because });
          if (end !== 'next' && doubtful === undefined) return end;
          break;
        }
      }
    }
    return 'next';
  }

  /** Entries that may not be meant are followed for what they would do; only the one that is decides. */
  #choice(step: Extract<Step, { kind: 'choice' }>, by: Site, scope: Scope): End | 'next' {
    for (const { verdict, certain } of step.choose(this.packet)) {
      const because = scope.because ?? (certain ? undefined : step.what);
      const end = this.#verdict(verdict, by, { ...scope, because });
      if (certain) return end;
    }
    return 'next';
  }

  #verdict(verdict: Verdict, by: Site, { because, depth }: Scope): End | 'next' {
    switch (verdict.kind) {
      case 'return':
        return 'return';
      case 'jump':
      case 'goto': {
        const target = this.#table.chains.get(verdict.chain);
        const end: End =
          target === undefined || depth === MAX_DEPTH
            ? 'return'
            : this.chain(target, { because, depth: depth + 1 });
        return end === 'return' && verdict.kind === 'jump' ? 'next' : end;
      }
      case 'handed-over':
        this.#doubt({ kind: 'handed-over', by, because: because ?? verdict.to });
        return 'next';
      case 'dnat':
        if (because === undefined && verdict.to !== undefined) return { kind: 'dnat', to: verdict.to, by };
        this.#doubt({ kind: 'dnat', by, because: because ?? 'where it leads' });
        return { kind: 'accept', by };
      case 'accept':
      case 'drop':
      case 'reject':
        if (because !== undefined) this.#doubt({ kind: verdict.kind, by, because });
        return { kind: verdict.kind, by };
    }
  }

  #doubt(doubt: Doubt): void {
    if (this.doubts.length < MAX_DOUBTS) this.doubts.push(doubt);
  }
}
