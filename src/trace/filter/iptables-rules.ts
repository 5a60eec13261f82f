/**
 * Rules as `iptables-save` prints them, as steps: for the older xtables, and for iptables-nft's rules, whose extensions
 * nft's JSON only names.
 *
 * Extensions that are not understood are conditions of which it cannot be told whether they hold.
 */
import { parseIp } from '../../base/ip.ts';
import { compare, not } from './compare.ts';
import { applyMask } from './nft-rules.ts';
import { readField, type FilterPacket } from './packet.ts';
import type { Step, Ternary, Verdict } from './rules.ts';

export interface SavedRule {
  readonly chain: string;
  readonly steps: readonly Step[];
}

export interface SavedTable {
  readonly name: string;
  /** Of the kernel's own chains. */
  readonly policies: ReadonlyMap<string, 'accept' | 'drop'>;
  readonly chains: readonly string[];
  readonly rules: readonly SavedRule[];
}

/** What `iptables-save` or `ip6tables-save` prints. */
export function parseSaved(text: string): readonly SavedTable[] {
  return text
    .split(/^(?=\*)/m)
    .filter((part) => part.startsWith('*'))
    .map(parseTable);
}

function parseTable(text: string): SavedTable {
  const lines = text.split('\n');
  const policies = new Map<string, 'accept' | 'drop'>();
  const chains: string[] = [];
  for (const line of lines) {
    const [, chain, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (chain === undefined) continue;
    chains.push(chain);
    if (policy === 'ACCEPT' || policy === 'DROP') policies.set(chain, policy === 'DROP' ? 'drop' : 'accept');
  }
  const known = new Set(chains);
  const rules = lines
    .filter((line) => line.startsWith('-A '))
    .map((line) => {
      const [, chain = '', ...words] = splitWords(line);
      return { chain, steps: ruleSteps(words, known) };
    });
  return { name: lines[0]?.slice(1).trim() ?? '', policies, chains, rules };
}

/** Words are quoted where they have spaces, and then may have escaped quotes. */
function splitWords(line: string): readonly string[] {
  return Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g), ([, quoted, plain]) =>
    quoted === undefined ? (plain ?? '') : quoted.replaceAll(/\\(.)/g, '$1'),
  );
}

interface Option {
  readonly name: string;
  readonly negated: boolean;
  readonly values: readonly string[];
}

/** `! --name value value`; a value never begins with a dash, but for negative numbers, which no filter has. */
function parseOptions(words: readonly string[]): readonly Option[] {
  const options: { name: string; negated: boolean; values: string[] }[] = [];
  let negated = false;
  for (const word of words) {
    if (word === '!') negated = true;
    else if (/^--?[A-Za-z]/.test(word)) {
      options.push({ name: word, negated, values: [] });
      negated = false;
    } else options.at(-1)?.values.push(word);
  }
  return options;
}

/** Matches that only say what options follow, or nothing at all. */
const PLAIN_MATCHES = new Set([
  'tcp',
  'udp',
  'icmp',
  'icmp6',
  'ipv6-icmp',
  'comment',
  'multiport',
  'conntrack',
]);
const MORE_PLAIN_MATCHES = new Set(['state', 'mark', 'addrtype', 'iprange', 'pkttype']);

function ruleSteps(words: readonly string[], chains: ReadonlySet<string>): readonly Step[] {
  const options = parseOptions(words);
  const at = options.findIndex(({ name }) => name === '-j' || name === '-g');
  const matches = at === -1 ? options : options.slice(0, at);
  const steps = matches.flatMap((option) => conditionOf(option) ?? []);
  const decision = options[at];
  if (decision === undefined) return steps;
  return [...steps, ...targetSteps(decision, options.slice(at + 1), chains)];
}

/** `undefined` = says nothing. */
function conditionOf(option: Option): Step | undefined {
  const { name, negated, values } = option;
  if (name === '-m' && isPlain(values[0])) return undefined;
  if (name === '--comment') return undefined;
  const what = `${negated ? '! ' : ''}${[name, ...values].join(' ')}`;
  const holds = matcher(name, values);
  return {
    kind: 'condition',
    what,
    holds: (packet) => {
      const answer = holds?.(packet);
      return negated ? not(answer) : answer;
    },
  };
}

const isPlain = (name = ''): boolean => PLAIN_MATCHES.has(name) || MORE_PLAIN_MATCHES.has(name);

type Matcher = (packet: FilterPacket) => Ternary;
const NO_SETS = new Map<string, readonly unknown[]>();
const isOneOf =
  (field: string, elements: readonly unknown[]): Matcher =>
  (packet) =>
    compare(readField(packet, field), 'in', { set: elements }, NO_SETS);

/** `undefined` = not understood. */
function matcher(name: string, values: readonly string[]): Matcher | undefined {
  const [value = ''] = values;
  const list = value.split(',');
  switch (name) {
    case '-i':
      return isOneOf('meta iifname', [value.replace(/\+$/, '*')]);
    case '-o':
      return isOneOf('meta oifname', [value.replace(/\+$/, '*')]);
    case '-s':
      return isAddress('saddr', value);
    case '-d':
      return isAddress('daddr', value);
    case '-p':
      return value === 'all' ? () => true : isOneOf('meta l4proto', [value]);
    case '--sport':
    case '--sports':
      return isOneOf('th sport', list.map(portRange));
    case '--dport':
    case '--dports':
      return isOneOf('th dport', list.map(portRange));
    case '--ports':
      return (packet) => eitherPort(packet, list.map(portRange));
    case '--tcp-flags':
      return hasFlags(value, values[1] ?? '');
    case '--syn':
      return hasFlags('SYN,RST,ACK,FIN', 'SYN');
    case '--ctstate':
    case '--state':
      return isState(list);
    case '--ctstatus':
      return isOneOf(
        'ct status',
        list.map((each) => each.toLowerCase().replace('_', '-')),
      );
    case '--ctdir':
      return isOneOf('ct direction', [value.toLowerCase()]);
    case '--icmp-type':
    case '--icmpv6-type':
      return isIcmpType(value);
    case '--mark':
      return isMark(value);
    case '--dst-type':
      return (packet) => packet.addressType(packet.destination) === value.toLowerCase();
    case '--src-type':
      return (packet) => packet.addressType(packet.source) === value.toLowerCase();
    case '--src-range':
      return isAddress('saddr', value);
    case '--dst-range':
      return isAddress('daddr', value);
    default:
      return undefined;
  }
}

/** `10.0.0.0/8`, or `1.1.1.1-1.1.1.5`; iptables-save has the prefix's length in digits. */
function isAddress(field: 'saddr' | 'daddr', value: string): Matcher {
  const [low = '', high] = value.split('-');
  const [addr = '', length] = low.split('/');
  const prefixed = length === undefined ? addr : { prefix: { addr, len: Number(length) } };
  const element = high === undefined ? prefixed : { range: [low, high] };
  return (packet) =>
    compare(readField(packet, `${packet.family === 4 ? 'ip' : 'ip6'} ${field}`), '==', element, NO_SETS);
}

function portRange(text: string): unknown {
  const [low = '', high] = text.split(':');
  return high === undefined ? Number(low) : { range: [Number(low), Number(high)] };
}

function eitherPort(packet: FilterPacket, ports: readonly unknown[]): Ternary {
  const source = isOneOf('th sport', ports)(packet);
  const destination = isOneOf('th dport', ports)(packet);
  if (source === true || destination === true) return true;
  return source === undefined || destination === undefined ? undefined : false;
}

function hasFlags(mask: string, wanted: string): Matcher {
  const looked = mask.toLowerCase().split(',');
  const right = wanted === 'NONE' ? 0 : wanted.toLowerCase().split(',');
  return (packet) => compare(applyMask(readField(packet, 'tcp flags'), looked), '==', right, NO_SETS);
}

/** DNAT and SNAT are not states for nft, but for iptables. */
function isState(states: readonly string[]): Matcher {
  const real = states
    .filter((state) => !['DNAT', 'SNAT'].includes(state))
    .map((state) => state.toLowerCase());
  return (packet) => {
    if (isOneOf('ct state', real)(packet) === true) return true;
    if (states.includes('DNAT') && packet.translated) return true;
    return states.includes('SNAT') ? undefined : false;
  };
}

function isIcmpType(value: string): Matcher {
  const type = value.split('/')[0] ?? '';
  return (packet) =>
    type === 'any'
      ? packet.protocol === 'icmp'
      : compare(readField(packet, packet.family === 4 ? 'icmp type' : 'icmpv6 type'), 'in', type, NO_SETS);
}

function isMark(value: string): Matcher {
  const [wanted = NaN, mask = 0xff_ff_ff_ff] = value.split('/').map(Number);
  return (packet) => compare(applyMask(readField(packet, 'meta mark'), mask), '==', wanted, NO_SETS);
}

/** The packet goes on to the next rule. */
const SILENT_TARGETS = new Set(
  (
    'LOG NFLOG ULOG AUDIT TRACE TCPMSS CT NOTRACK CLASSIFY CONNMARK SECMARK CONNSECMARK TTL HL DSCP TOS ECN ' +
    'CHECKSUM SET TEE RATEEST IDLETIMER LED TCPOPTSTRIP HMARK'
  ).split(' '),
);

function targetSteps(
  { name, values: [target = ''] }: Option,
  options: readonly Option[],
  chains: ReadonlySet<string>,
): readonly Step[] {
  if (chains.has(target))
    return [{ kind: 'verdict', verdict: { kind: name === '-g' ? 'goto' : 'jump', chain: target } }];
  if (SILENT_TARGETS.has(target)) return [];
  if (target === 'MARK') return [markStep(options)];
  return [{ kind: 'verdict', verdict: verdictOf(target, options) }];
}

function verdictOf(target: string, options: readonly Option[]): Verdict {
  switch (target) {
    case 'ACCEPT':
    case 'SNAT':
    case 'MASQUERADE':
      return { kind: 'accept' };
    case 'DROP':
      return { kind: 'drop' };
    case 'REJECT':
      return { kind: 'reject' };
    case 'RETURN':
      return { kind: 'return' };
    case 'REDIRECT':
      return { kind: 'dnat' };
    case 'DNAT':
      return destinationOf(options);
    default:
      return { kind: 'handed-over', to: target };
  }
}

/** One address, `1.2.3.4:80`, `:80` or `[fd00::1]:80`; ranges of them are not followed. */
function destinationOf(options: readonly Option[]): Verdict {
  const value = options.find(({ name }) => name === '--to-destination')?.values[0] ?? '';
  if (parseIp(value) !== undefined) return { kind: 'dnat', to: { address: value } };
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([0-9.]*)):([0-9]+)$/.exec(value) ?? [];
  if (digits === undefined) return { kind: 'dnat' };
  const address = bracketed ?? plain ?? '';
  return { kind: 'dnat', to: { port: Number(digits), ...(address === '' ? {} : { address }) } };
}

/** `--set-xmark VALUE/0xffffffff` sets all of it. */
function markStep(options: readonly Option[]): Step {
  const value = options.find(({ name }) => name === '--set-xmark' || name === '--set-mark')?.values[0];
  const [mark, mask = 0xff_ff_ff_ff] = value?.split('/').map(Number) ?? [];
  return mark === undefined || mask !== 0xff_ff_ff_ff ? { kind: 'mark' } : { kind: 'mark', value: mark };
}
