/**
 * Keeps our rules in Docker's chains: looks only when nftables has changed, and looks again after each change of its own.
 *
 * The rules themselves are decided in overlay/docker-isolation.ts.
 */
import type { Log } from '../base/log.ts';
import type { Nft } from '../kernel/nft/types.ts';
import { parseChains, type Chain } from '../overlay/docker-chains.ts';
import {
  hidesBehindLegacyTables,
  isolationPlan,
  isolationTables,
  type IsolationOverlay,
} from '../overlay/docker-isolation.ts';

/** Docker may rewrite its chains while we look; after this many rounds the next trigger goes on. */
const MAX_ROUNDS = 4;

export interface IsolationReport {
  /** Chains of Docker that let the overlays pass: `ip filter DOCKER-USER`. Empty = Docker has none here. */
  readonly sites: readonly string[];
  /** True when rules were added, mended or removed. */
  readonly changed: boolean;
  /** What stands in the way and what a person can do about it. */
  readonly problem: string | undefined;
}

export interface DockerIsolation {
  /** Makes Docker's chains let these overlays pass, and no others; none = our rules are removed. */
  ensure(overlays: readonly IsolationOverlay[], dockerRuns: boolean): Promise<IsolationReport>;
}

export interface IsolationComponents {
  readonly nft: Pick<Nft, 'list' | 'run' | 'generation'>;
  /** Names of the legacy xtables' tables in this namespace. */
  readonly legacyTables: () => Promise<readonly string[]>;
  readonly log: Log;
}

const LEGACY_PROBLEM =
  'Docker\'s rules are in the legacy xtables, where nftables cannot reach them: run "update-alternatives --set ' +
  'iptables /usr/sbin/iptables-nft" (and ip6tables), then restart Docker';

export function createDockerIsolation({ nft, legacyTables, log }: IsolationComponents): DockerIsolation {
  let seen:
    { readonly generation: number; readonly wish: string; readonly report: IsolationReport } | undefined;

  const ensure: DockerIsolation['ensure'] = async (overlays, dockerRuns) => {
    const wish = JSON.stringify([overlays, dockerRuns]);
    let changed = false;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      // Taken before looking: a change made while we look is seen the next time.
      const generation = await nft.generation();
      if (seen?.generation === generation && seen.wish === wish) return { ...seen.report, changed };
      const chains = await listChains(nft);
      const { script, sites } = isolationPlan(chains, overlays, dockerRuns);
      if (script === undefined) {
        const hidden = hidesBehindLegacyTables(chains, await legacyTables(), dockerRuns);
        const report = { sites, changed, problem: hidden ? LEGACY_PROBLEM : undefined };
        seen = { generation, wish, report };
        return report;
      }
      await nft.run(script);
      log.info("mended the way through Docker's isolation", {
        sites,
        overlays: overlays.map(({ name }) => name),
      });
      changed = true;
    }
    return { sites: [], changed, problem: "Docker's chains change faster than they can be mended" };
  };
  return { ensure };
}

/** The names of all chains first, then the rules of the few tables that matter. */
async function listChains(nft: IsolationComponents['nft']): Promise<readonly Chain[]> {
  const names = await nft.list(['list', 'chains']);
  const tables = isolationTables(parseChains([names]));
  const answers = await Promise.all(
    tables.map(({ family, name }) => nft.list(['list', 'table', family, name])),
  );
  return parseChains([names, ...answers]);
}
