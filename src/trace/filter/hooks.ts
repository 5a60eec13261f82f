/**
 * A packet at one of netfilter's hooks: the base chains of other people's tables, one after the other.
 *
 * Invariants: a drop in any of them ends the way, an accept in one says nothing for the next; our own tables are not
 * among them, as the walk knows what they do.
 */
import { ip, type IpAddress } from '../../base/ip.ts';
import type { TraceLeg, TracePacket } from '../../model/trace.ts';
import { lookUp } from '../lookup.ts';
import type { HostState } from '../state.ts';
import type { Way } from '../way.ts';
import { evaluate, type Doubt, type Outcome } from './evaluate.ts';
import { portsOf, type FilterPacket } from './packet.ts';
import { dropRemedy, type Dropped } from './remedy.ts';
import { siteText, type FilterChain, type Filters, type FilterTable, type Hook } from './rules.ts';

export interface Passage {
  readonly hook: Hook;
  /** Empty = there is none. */
  readonly iif: string;
  readonly oif: string;
  /** Before or after the destination is translated by our own tables; absent = both. */
  readonly part?: 'early' | 'late';
  /** What passes, where it is not the way's own packet: a tunnel's. */
  readonly outer?: TracePacket;
  /** The container in whose namespace it passes; absent = the host's own. */
  readonly within?: string;
}

/** Where vip/ruleset.ts and Docker translate destinations: `dstnat - 10` and `dstnat`. */
const OUR_NAT = -110;
const DSTNAT = -100;
const SRCNAT = 100;
/** Chains before it see no connection (NF_IP_PRI_CONNTRACK). */
const CONNTRACK = -200;
/** Doubts of one hook that are told. */
const MAX_TOLD = 3;

interface Called {
  readonly table: FilterTable;
  readonly chain: FilterChain;
  readonly base: NonNullable<FilterChain['base']>;
}

/** Answers where the way ends; `undefined` = it goes on, perhaps to another destination. */
export function passHook(state: HostState, way: Way, passage: Passage): TraceLeg | undefined {
  const packet = passage.outer ?? way.packet;
  const { within, hook } = passage;
  const devices = [...named('iif', passage.iif), ...named('oif', passage.oif)];
  const what = [...(within === undefined ? [] : [`${within}:`]), hook, ...devices].join(' ');
  const doubts: string[] = [];
  const passed: string[] = [];
  for (const called of chainsAt(state.filters, passage, ip(packet.destination).family)) {
    const { table, chain, base } = called;
    if (base.type === 'nat' && (way.translated || way.isAnswer || passage.outer !== undefined)) continue;
    const outcome = evaluate(table, chain, filterPacket(state, way, passage, base.priority));
    way.mark = outcome.mark;
    const told = outcome.doubts.flatMap((doubt) => doubtText(doubt) ?? []);
    if (outcome.kind === 'drop' || outcome.kind === 'reject') {
      const unless = outcome.doubts.find(({ kind }) => kind === 'accept');
      const command = dropRemedy(outcome.by, table, passage, droppedOf(packet));
      const remedy = within === undefined ? command : `inside ${within}, ${command}`;
      if (unless === undefined)
        return way.stop('firewall', what, `${dropWords[outcome.kind]} by ${siteText(outcome.by)}`, remedy);
      doubts.push(...told, unlessText(outcome.kind, outcome, unless));
    } else {
      doubts.push(...told);
      passed.push(passedText(outcome));
      if (outcome.kind === 'dnat') way.translate(outcome.to);
    }
  }
  if (doubts.length > 0) way.doubt('firewall', what, doubts.slice(0, MAX_TOLD));
  else if (passed.length > 0) way.pass('firewall', `${what}: ${passed.join(', ')}`);
  return undefined;
}

const named = (word: string, device: string): readonly string[] =>
  device === '' ? [] : [`${word} ${device}`];

/** In the order in which the kernel calls them: NAT's all where NAT is, in their own order. */
function chainsAt({ tables }: Filters, { hook, part }: Passage, family: 4 | 6): readonly Called[] {
  const called = tables
    .filter((table) => table.family === 'inet' || (table.family === 'ip') === (family === 4))
    .flatMap((table) =>
      Array.from(table.chains.values()).flatMap((chain): readonly Called[] => {
        const { base } = chain;
        if (base === undefined || base.hook !== hook || saysNothing(chain)) return [];
        return part === undefined || (part === 'early') === isEarly(base) ? [{ table, chain, base }] : [];
      }),
    );
  return called.toSorted((a, b) => place(a.base) - place(b.base) || a.base.priority - b.base.priority);
}

const saysNothing = ({ rules, base }: FilterChain): boolean => rules.length === 0 && base?.policy !== 'drop';

function place({ type, hook, priority }: Called['base']): number {
  if (type !== 'nat') return priority;
  return hook === 'prerouting' || hook === 'output' ? DSTNAT : SRCNAT;
}

const isEarly = ({ type, priority }: Called['base']): boolean =>
  priority < (type === 'nat' ? OUR_NAT : DSTNAT);

function filterPacket(
  state: HostState,
  way: Way,
  { hook, iif, oif, outer }: Passage,
  priority: number,
): FilterPacket {
  const packet = outer ?? way.packet;
  const source = ip(packet.source);
  const destination = ip(packet.destination);
  const isFirst = hook === 'prerouting' || hook === 'output';
  const isAnswer = outer === undefined && way.isAnswer;
  const ports = portsOf(packet, isAnswer);
  return {
    family: destination.family,
    protocol: packet.protocol,
    source,
    destination,
    ...(ports === undefined ? {} : { ports }),
    iif,
    oif,
    state:
      isFirst && priority < CONNTRACK
        ? 'invalid'
        : outer === undefined
          ? isAnswer
            ? 'established'
            : 'new'
          : // Our own table takes the tunnel's packets out of connection tracking.
            'untracked',
    translated: outer === undefined && way.translated,
    isAnswer,
    mark: way.mark,
    addressType: (address) => addressType(state, address),
    hasReversePath: () => {
      const back = lookUp(state, { source: undefined, destination: source });
      return back.kind === 'route' && back.route.link === iif;
    },
  };
}

function addressType({ addresses }: HostState, address: IpAddress): 'local' | 'unicast' | 'multicast' {
  const text = String(address);
  if (text.startsWith('127.') || addresses.some((each) => each.address.address.equals(address)))
    return 'local';
  const first = address.family === 4 ? Number(text.split('.')[0]) : 0;
  return text.startsWith('ff') || (first >= 224 && first < 240) ? 'multicast' : 'unicast';
}

const droppedOf = ({ protocol, destination, port }: TracePacket): Dropped => ({
  protocol,
  destination,
  port,
});
const dropWords = { drop: 'dropped', reject: 'rejected' } as const;

function passedText(outcome: Outcome): string {
  if (outcome.kind !== 'dnat') return `accepted by ${siteText(outcome.by)}`;
  const { address = '', port } = outcome.to;
  return `sent to ${address}${port === undefined ? '' : `:${port}`} by ${siteText(outcome.by)}`;
}

/** `undefined` = it would only let pass what passes anyway. */
function doubtText({ kind, by, because }: Doubt): string | undefined {
  switch (kind) {
    case 'accept':
      return undefined;
    case 'drop':
    case 'reject':
      return `may be ${dropWords[kind]} by ${siteText(by)} (cannot be evaluated: ${because})`;
    case 'dnat':
      return `may be sent elsewhere by ${siteText(by)} (cannot be evaluated: ${because})`;
    case 'handed-over':
      return `may be handed over by ${siteText(by)} (to ${because}, which decides)`;
  }
}

function unlessText(kind: 'drop' | 'reject', { by }: Outcome, unless: Doubt): string {
  const accepting = `${siteText(unless.by)} accepts it before (cannot be evaluated: ${unless.because})`;
  return `is ${dropWords[kind]} by ${siteText(by)}, unless ${accepting}`;
}
