/**
 * Whom to ask: which upstreams a name belongs to, and which of them first (reference "VIPs and DNS", section 6).
 */
import type { IpAddress } from '../base/ip.ts';
import { randomBelow, type Random } from '../base/random.ts';
import { assert } from '../base/assert.ts';
import { nameKey, suffixOffsets } from './name.ts';

export interface Upstream {
  readonly address: IpAddress;
  readonly port: number;
}

export const upstreamText = ({ address, port }: Upstream): string =>
  address.family === 6 ? `[${address}]:${port}` : `${address}:${port}`;

export interface ForwardingRules {
  readonly upstreams: readonly Upstream[];
  /** By zone. */
  readonly zones: ReadonlyMap<string, readonly Upstream[]>;
}

export interface Route {
  /** `.` for whatever no zone says more of. */
  readonly zone: string;
  readonly upstreams: readonly Upstream[];
}

/** Of several zones that a name is in, the longest. */
export class ForwardRoutes {
  readonly #zones: ReadonlyMap<string, Route>;
  readonly #rest: Route;

  constructor(rules: ForwardingRules) {
    this.#rest = { zone: '.', upstreams: rules.upstreams };
    this.#zones = new Map(
      [...rules.zones].map(([zone, upstreams]) => {
        const key = nameKey(zone);
        assert(key !== undefined, `"${zone}" is a name`);
        return [key, { zone, upstreams }];
      }),
    );
  }

  find(key: string): Route {
    for (const offset of suffixOffsets(key)) {
      const route = this.#zones.get(key.slice(offset));
      if (route !== undefined) return route;
    }
    return this.#rest;
  }
}

/** How long a failure counts against an upstream. */
const RECENT_MS = 60_000;
const REMEMBERED_MAX = 100;
/** So many are asked at a time; when there are no more than these, all. */
const AT_A_TIME = 2;

export class UpstreamChoice {
  readonly #random: Random;
  readonly #failures = new Map<string, number[]>();

  constructor(components: { readonly random: Random }) {
    this.#random = components.random;
  }

  failed(upstream: Upstream, nowMs: number): void {
    const name = upstreamText(upstream);
    const recent = [...this.#recent(name, nowMs), nowMs].slice(-REMEMBERED_MAX);
    this.#failures.set(name, recent);
  }

  /** The next ones to ask: two by chance of those with the fewest recent failures, or all when there are no more. */
  pick(upstreams: readonly Upstream[], nowMs: number): readonly Upstream[] {
    if (upstreams.length <= AT_A_TIME) return upstreams;
    const drawn = upstreams.map((upstream) => ({
      upstream,
      failures: this.#recent(upstreamText(upstream), nowMs).length,
      lot: randomBelow(this.#random, 0x1_0000_0000),
    }));
    drawn.sort((a, b) => a.failures - b.failures || a.lot - b.lot);
    return drawn.slice(0, AT_A_TIME).map(({ upstream }) => upstream);
  }

  #recent(name: string, nowMs: number): readonly number[] {
    return (this.#failures.get(name) ?? []).filter((at) => nowMs - at < RECENT_MS);
  }
}
