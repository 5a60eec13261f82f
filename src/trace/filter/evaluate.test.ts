import { describe, expect, it } from 'vitest';
import { ip } from '../../base/ip.ts';
import { evaluate, type Outcome } from './evaluate.ts';
import { parseFilters } from './listing.ts';
import type { FilterPacket } from './packet.ts';

const packet: FilterPacket = {
  family: 4,
  protocol: 'tcp',
  source: ip('9.0.1.2'),
  destination: ip('9.0.2.2'),
  ports: { source: { from: 32_768, to: 60_999 }, destination: { from: 80, to: 80 } },
  iif: 'm-dcos',
  oif: 'vtep1024',
  state: 'new',
  translated: false,
  isAnswer: false,
  mark: 0,
  addressType: () => 'unicast',
  hasReversePath: () => true,
};

type Statement = Readonly<Record<string, unknown>>;
const field = (protocol: string, name: string): Statement => ({ payload: { protocol, field: name } });
const match = (left: Statement, right: unknown, op = '=='): Statement => ({ match: { op, left, right } });
const unknown: Statement = { limit: { rate: 5, per: 'second' } };
const verdict = (kind: string, target?: string): Statement => ({
  [kind]: target === undefined ? null : { target },
});

/** Rules by chain, as `nft -j list table inet fw` has them; `fo` is the one that the kernel calls. */
function ask(
  chains: Readonly<Record<string, readonly (readonly Statement[])[]>>,
  change: Partial<FilterPacket> = {},
): Outcome {
  const at = { family: 'inet', table: 'fw' };
  const base = { type: 'filter', hook: 'forward', prio: 0, policy: 'accept' };
  let handle = 0;
  const nftables = [
    { metainfo: { json_schema_version: 1 } },
    { table: { family: 'inet', name: 'fw', handle: 1 } },
    { set: { ...at, name: 'many', type: 'inet_service', elem: [{ elem: { val: 80, comment: 'web' } }] } },
    { set: { ...at, name: 'none', type: 'ipv4_addr' } },
    ...Object.keys(chains).map((name) => ({ chain: { ...at, name, ...(name === 'fo' ? base : {}) } })),
    ...Object.entries(chains).flatMap(([chain, rules]) =>
      rules.map((expr) => ({ rule: { ...at, chain, handle: ++handle, expr } })),
    ),
  ];
  const { tables } = parseFilters({ tables: [{ nftables }], saved: [], legacy: [], unreadable: [] });
  const [table] = tables;
  const chain = table?.chains.get('fo');
  if (table === undefined || chain === undefined) throw new Error('the table is not there');
  return evaluate(table, chain, { ...packet, ...change });
}

const asked = (left: Statement, right: unknown, op?: string, change?: Partial<FilterPacket>): string =>
  ask({ fo: [[match(left, right, op), verdict('drop')]] }, change).kind;

describe('a condition', () => {
  it('holds or not as the packet has it', () => {
    expect(asked(field('tcp', 'dport'), '@many')).toBe('drop');
    expect(asked(field('ip', 'saddr'), '@none')).toBe('accept');
    expect(asked(field('tcp', 'dport'), { set: [22, { range: [80, 90] }] })).toBe('drop');
    expect(asked(field('tcp', 'dport'), 80, '<')).toBe('accept');
    expect(asked(field('tcp', 'dport'), 81, '<')).toBe('drop');
    expect(asked({ meta: { key: 'oifname' } }, 'vtep*', '!=')).toBe('accept');
    expect(asked({ ct: { key: 'state' } }, ['new', 'untracked'], 'in')).toBe('drop');
    expect(asked({ ct: { key: 'status' } }, 'dnat', 'in')).toBe('accept');
  });

  it('never holds for what the packet has not, not even as unequal', () => {
    expect(asked(field('udp', 'dport'), 81, '!=')).toBe('accept');
    expect(asked(field('ip6', 'daddr'), 'fd00::1', '!=')).toBe('accept');
  });

  it('is in doubt where it depends on which port the sender takes', () => {
    expect(asked(field('tcp', 'sport'), { range: [1024, 65_535] })).toBe('drop');
    expect(asked(field('tcp', 'sport'), { range: [1, 1023] })).toBe('accept');
    const { kind, doubts } = ask({ fo: [[match(field('tcp', 'sport'), 40_000), verdict('drop')]] });
    expect([kind, doubts.map((doubt) => doubt.because)]).toEqual(['accept', ['tcp sport 40000']]);
  });
});

describe('what cannot be told', () => {
  it('goes on, and is told with what it would lead to', () => {
    const { kind, doubts } = ask({
      fo: [[unknown, verdict('jump', 'a')], [verdict('accept')]],
      a: [[verdict('drop')]],
    });
    expect(kind).toBe('accept');
    expect(doubts).toMatchObject([{ kind: 'drop', by: { chain: 'a' }, because: 'limit rate 5/second' }]);
  });

  it('does not end a way that is in doubt already', () => {
    const inner = [unknown, verdict('accept')];
    const { kind, doubts } = ask({ fo: [[unknown, verdict('goto', 'a')]], a: [inner, [verdict('drop')]] });
    expect([kind, doubts.map((doubt) => doubt.kind)]).toEqual(['accept', ['accept', 'drop']]);
  });

  it('does not count behind a verdict that is certain', () => {
    const { kind, doubts } = ask({ fo: [[verdict('drop')], [unknown, verdict('accept')]] });
    expect([kind, doubts]).toEqual(['drop', []]);
  });

  it('is what a mark is after a rule that may have set it', () => {
    const set = { mangle: { key: { meta: { key: 'mark' } }, value: 5 } };
    const drop = [match({ meta: { key: 'mark' } }, 5), verdict('drop')];
    expect(ask({ fo: [[set], drop] }).kind).toBe('drop');
    expect(ask({ fo: [[unknown, set], drop] })).toMatchObject({
      kind: 'accept',
      doubts: [{ because: 'meta mark 5' }],
    });
  });

  it('is what a program that reads a queue decides', () => {
    expect(ask({ fo: [[{ queue: { num: 1 } }]] }).doubts).toMatchObject([
      { kind: 'handed-over', because: 'queue' },
    ]);
  });
});

it('ends with rules that call one another in a circle', () => {
  const circle = {
    fo: [[verdict('jump', 'a')], [verdict('drop')]],
    a: [[verdict('jump', 'a')], [verdict('jump', 'a')]],
  };
  expect(ask(circle).kind).toBe('accept');
});
