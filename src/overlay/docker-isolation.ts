/**
 * Letting overlays through Docker's isolation of bridges from one another.
 *
 * Docker drops what goes from one bridge to another, what comes to a container's address from elsewhere, and, when it
 * was the one to turn forwarding on, everything forwarded that nobody accepted. Overlays are made of bridges that must
 * talk: `m-*`, `d-*` and the VTEP. An accept in a table of our own does not help, because in nftables a drop in any
 * table is final (nft(8), "VERDICT STATEMENTS"): so this is the one place where Portolan puts rules into chains of
 * another owner. In each generation of Docker the site is another one:
 *
 * | Docker            | chain                                    | why there                                            |
 * |-------------------|------------------------------------------|------------------------------------------------------|
 * | 1.12-17.05        | `filter DOCKER-ISOLATION`                | the first chain of FORWARD                           |
 * | 17.06 and later   | `filter DOCKER-USER`                     | before all of Docker's, and promised to be left alone |
 * | without that      | `filter DOCKER-ISOLATION-STAGE-1`        |                                                      |
 * | all with iptables | end of `filter FORWARD`, if policy drop  | what nobody has decided; also after `iptables -F -X` |
 * | 28 and later      | `raw PREROUTING`                         | "direct access" drops of published containers        |
 * | 29, nftables      | `docker-bridges`: forward and prerouting | no user chain there (moby#49643)                     |
 *
 * Sources: docs.docker.com/engine/network/firewall-iptables and firewall-nftables, and moby's generated
 * integration/network/bridge/{iptables,nftables}doc.
 *
 * Invariants: what is accepted goes from a device of an overlay to a device of an overlay, between Docker's default bridge
 * and a `d-*` bridge, or is an undecided packet of an `m-*` bridge: the state without Docker. The default bridge's
 * containers call VIPs, and have some; they reach `m-*` bridges and other hosts' containers as it is, and the containers of
 * an overlay are no others for being Docker's and of this host. Other bridges of Docker stay apart. A foreign chain gets one jump, to a chain `PORTOLAN-*` of the same table;
 * by that name our rules are known, without memory. Own rules use only what iptables itself would write, because an
 * iptables that meets other expressions calls the table incompatible and Docker would fail.
 * Review notes: no `ct`, no sets, no wildcards in own rules (iptables 1.8.9 reads none of them back).
 */
import type { Prefix } from '../base/ip.ts';
import { DOCKER_DEFAULT_BRIDGE, dockerBridgeName, mesosBridgeName, VTEP_NAME } from '../model/overlay.ts';
import type { Chain, ChainRule } from './docker-chains.ts';

/** What isolation must know of one overlay on this host. */
export interface IsolationOverlay {
  readonly name: string;
  /** The Docker half of the block, of each family. */
  readonly dockerSubnets: readonly Prefix[];
}

export interface IsolationPlan {
  /** One transaction of nft; `undefined` = everything is as it must be. */
  readonly script: string | undefined;
  /** Where our rules belong: `ip filter DOCKER-USER`. Empty = no Docker chains here. */
  readonly sites: readonly string[];
}

const CHAIN_PREFIX = 'PORTOLAN-';
const FORWARD = 'PORTOLAN-FORWARD';
const FORWARD_TO = 'PORTOLAN-FORWARD-TO';
const REST = 'PORTOLAN-REST';
const RAW = 'PORTOLAN-RAW';
const RAW_TO = 'PORTOLAN-RAW-TO';
const NFTABLES_MODE_TABLE = 'docker-bridges';
/** In order of preference. */
const filterChains = ['DOCKER-USER', 'DOCKER-ISOLATION', 'DOCKER-ISOLATION-STAGE-1'] as const;

type OwnChain = readonly [name: string, rules: readonly string[]];

interface Table {
  readonly family: 'ip' | 'ip6';
  readonly name: string;
  readonly chains: readonly Chain[];
}

interface Site {
  readonly chain: Chain;
  readonly target: typeof FORWARD | typeof REST | typeof RAW;
  readonly where: 'top' | 'end';
}

/** Names of the tables whose rules must be listed, out of `nft -j list chains`. */
export function isolationTables(
  chains: readonly Chain[],
): readonly { readonly family: 'ip' | 'ip6'; readonly name: string }[] {
  return groupByTable(chains).filter(isRelevant);
}

/**
 * What must change so that these overlays, and no others, pass. No overlay = our rules go.
 * While Docker runs, a closed FORWARD chain is taken for its work even if `iptables -X` has removed its chains.
 */
export function isolationPlan(
  chains: readonly Chain[],
  overlays: readonly IsolationOverlay[],
  dockerRuns: boolean,
): IsolationPlan {
  const tables = groupByTable(chains).filter(isRelevant);
  const sites = tables.map((table) => (overlays.length === 0 ? [] : findSites(table, overlays, dockerRuns)));
  const commands = tables.flatMap((table, i) => planTable(table, sites[i] ?? [], overlays));
  return {
    script: commands.length === 0 ? undefined : `${commands.join('\n')}\n`,
    sites: sites.flat().map(({ chain }) => `${chain.family} ${chain.table} ${chain.name}`),
  };
}

function groupByTable(chains: readonly Chain[]): readonly Table[] {
  const tables = new Map<string, Chain[]>();
  for (const chain of chains) {
    const key = `${chain.family} ${chain.table}`;
    tables.set(key, [...(tables.get(key) ?? []), chain]);
  }
  return [...tables.values()].flatMap((group) => {
    const [first] = group;
    return first === undefined ? [] : [{ family: first.family, name: first.table, chains: group }];
  });
}

function isRelevant(table: Table): boolean {
  return (
    table.name === NFTABLES_MODE_TABLE ||
    (table.name === 'raw' && table.chains.some((chain) => chain.hook === 'prerouting')) ||
    (table.name === 'filter' && table.chains.some(isClosedForward)) ||
    table.chains.some(({ name }) => name.startsWith(CHAIN_PREFIX) || isOneOf(name, filterChains))
  );
}

function isOneOf(name: string, names: readonly string[]): boolean {
  return names.includes(name);
}

function findSites(
  table: Table,
  overlays: readonly IsolationOverlay[],
  dockerRuns: boolean,
): readonly Site[] {
  if (table.name === NFTABLES_MODE_TABLE) return nftablesModeSites(table);
  if (table.name === 'raw') return rawSites(table, overlays);
  return filterSites(table, dockerRuns);
}

/** By hook, not by name: Docker calls names in this table an implementation detail. */
function nftablesModeSites(table: Table): readonly Site[] {
  const base = table.chains.filter((chain) => chain.type === 'filter');
  return [
    ...base
      .filter((chain) => chain.hook === 'forward')
      .map((chain) => ({ chain, target: FORWARD, where: 'top' }) as const),
    ...base
      .filter((chain) => chain.hook === 'prerouting')
      .map((chain) => ({ chain, target: RAW, where: 'top' }) as const),
  ];
}

/** Only where Docker has really dropped something of ours: the raw table belongs to many. */
function rawSites(table: Table, overlays: readonly IsolationOverlay[]): readonly Site[] {
  const drops = overlays.map(({ name }) => `iifname != "${dockerBridgeName(name)}"`);
  const isDirectAccessDrop = ({ words }: ChainRule): boolean =>
    words.endsWith('drop') && drops.some((drop) => words.includes(drop));
  return table.chains
    .filter((chain) => chain.hook === 'prerouting' && chain.rules.some(isDirectAccessDrop))
    .map((chain) => ({ chain, target: RAW, where: 'top' }) as const);
}

function filterSites(table: Table, dockerRuns: boolean): readonly Site[] {
  const [first] = filterChains.flatMap((name) => table.chains.find((chain) => chain.name === name) ?? []);
  if (first === undefined && !dockerRuns) return [];
  const top = first === undefined ? [] : [{ chain: first, target: FORWARD, where: 'top' } as const];
  const closed = table.chains.filter(isClosedForward);
  return [...top, ...closed.map((chain) => ({ chain, target: REST, where: 'end' }) as const)];
}

function isClosedForward(chain: Chain): boolean {
  return chain.hook === 'forward' && chain.policy === 'drop';
}

/** Creates and fills our chains before jumps lead to them, and takes jumps away before their chains. */
function planTable(
  table: Table,
  sites: readonly Site[],
  overlays: readonly IsolationOverlay[],
): readonly string[] {
  const at = `${table.family} ${table.name}`;
  const desired = ownChains(table.family, sites, overlays);
  const present = table.chains.filter(({ name }) => name.startsWith(CHAIN_PREFIX));
  const names = new Set(present.map(({ name }) => name));
  const stale = [...desired].filter(([name, rules]) => !sameRules(present, name, rules));
  const obsolete = [...names].filter((name) => !desired.has(name));
  return [
    ...[...desired.keys()].filter((name) => !names.has(name)).map((name) => `add chain ${at} ${name}`),
    ...stale.filter(([name]) => names.has(name)).map(([name]) => `flush chain ${at} ${name}`),
    ...stale.flatMap(([name, rules]) => rules.map((rule) => `add rule ${at} ${name} ${marked(rule)}`)),
    ...table.chains
      .filter(({ name }) => !name.startsWith(CHAIN_PREFIX))
      .flatMap((chain) => planJumps(chain, sites)),
    ...obsolete.map((name) => `flush chain ${at} ${name}`),
    ...obsolete.map((name) => `delete chain ${at} ${name}`),
  ];
}

function marked(rule: string): string {
  return `${rule} comment "portolan"`;
}

function sameRules(present: readonly Chain[], name: string, rules: readonly string[]): boolean {
  const listed = present.find((chain) => chain.name === name)?.rules.map(({ words }) => words);
  return listed !== undefined && listed.join('\n') === rules.join('\n');
}

function planJumps(chain: Chain, sites: readonly Site[]): readonly string[] {
  const at = `${chain.family} ${chain.table} ${chain.name}`;
  const wanted = sites.filter((site) => site.chain === chain);
  const jumps = chain.rules.filter(({ words }) => words.includes(`jump ${CHAIN_PREFIX}`));
  const good = wanted.map((site) => jumps.filter((rule) => isGoodJump(site, rule)).slice(0, 1)).flat();
  const missing = wanted.filter((site) => !good.some((rule) => rule.words === `jump ${site.target}`));
  return [
    ...jumps.filter((rule) => !good.includes(rule)).map(({ handle }) => `delete rule ${at} handle ${handle}`),
    ...missing.map(
      ({ target, where }) => `${where === 'top' ? 'insert' : 'add'} rule ${at} ${marked(`jump ${target}`)}`,
    ),
  ];
}

/** In DOCKER-USER a person's rules may come first, as Docker promises them; elsewhere nothing may. */
function isGoodJump({ chain, target, where }: Site, rule: ChainRule): boolean {
  if (rule.words !== `jump ${target}`) return false;
  if (where === 'end') return true;
  const before = chain.rules.slice(0, chain.rules.indexOf(rule));
  if (chain.name !== 'DOCKER-USER') return before.length === 0;
  return !before.some(({ words }) => isOneOf(words, ['accept', 'drop', 'return']));
}

function ownChains(
  family: 'ip' | 'ip6',
  sites: readonly Site[],
  overlays: readonly IsolationOverlay[],
): ReadonlyMap<string, readonly string[]> {
  const mesos = overlays.map(({ name }) => mesosBridgeName(name)).sort();
  const docker = overlays.map(({ name }) => dockerBridgeName(name)).sort();
  const devices = [...mesos, ...docker, VTEP_NAME].sort();
  const subnets = overlays.flatMap(({ dockerSubnets }) => dockerSubnets);
  const local = subnets.filter((subnet) => subnet.family === (family === 'ip' ? 4 : 6));
  const forward: readonly OwnChain[] = [
    [
      FORWARD,
      [
        ...devices.map((device) => `iifname "${device}" jump ${FORWARD_TO}`),
        ...docker.flatMap(besideDefault),
      ],
    ],
    [FORWARD_TO, devices.map((device) => `oifname "${device}" accept`)],
  ];
  const mesosRules = mesos.flatMap((device) => [`iifname "${device}" accept`, `oifname "${device}" accept`]);
  const chains: Readonly<Record<Site['target'], readonly OwnChain[]>> = {
    [FORWARD]: forward,
    // The jump is for the time after an `iptables -F`, when nothing leads to DOCKER-USER any more.
    [REST]: [...forward, [REST, [`jump ${FORWARD}`, ...mesosRules]]],
    [RAW]: [
      [RAW, [...devices, DOCKER_DEFAULT_BRIDGE].map((device) => `iifname "${device}" jump ${RAW_TO}`)],
      [RAW_TO, local.map((subnet) => `${family} daddr ${String(subnet)} accept`).sort()],
    ],
  };
  return new Map(sites.flatMap(({ target }) => chains[target]));
}

/** Both ways, as iptables cannot be told here of answers alone (see the review notes). */
function besideDefault(device: string): readonly string[] {
  return [
    `iifname "${device}" oifname "${DOCKER_DEFAULT_BRIDGE}" accept`,
    `iifname "${DOCKER_DEFAULT_BRIDGE}" oifname "${device}" accept`,
  ];
}

/**
 * Docker's chains where nft cannot see them: the legacy xtables, kept by another part of the kernel.
 * `legacyTables` is what /proc/net/ip_tables_names lists.
 */
export function hidesBehindLegacyTables(
  chains: readonly Chain[],
  legacyTables: readonly string[],
  dockerRuns: boolean,
): boolean {
  const visible = chains.some(
    ({ table, name }) => table === NFTABLES_MODE_TABLE || isOneOf(name, filterChains),
  );
  return dockerRuns && !visible && legacyTables.includes('filter');
}
