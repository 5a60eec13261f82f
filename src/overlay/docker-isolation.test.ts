import { describe, expect, test } from 'vitest';
import { prefix } from '../base/ip.ts';
import { parseChains, type Chain } from './docker-chains.ts';
import { hidesBehindLegacyTables, isolationPlan, isolationTables } from './docker-isolation.ts';

const dcos = { name: 'dcos', dockerSubnets: [prefix('9.0.0.128/25'), prefix('fd01:b::8000:0:0:0/81')] };

function chain(text: string, extra: Partial<Chain> = {}): Chain {
  const [family = 'ip', table = '', name = ''] = text.split(' ');
  return {
    family: family === 'ip6' ? 'ip6' : 'ip',
    table,
    name,
    type: undefined,
    hook: undefined,
    policy: undefined,
    rules: [],
    ...extra,
  };
}

const rules = (...words: string[]): Chain['rules'] =>
  words.map((text, i) => ({ handle: i + 10, words: text }));
const forward = (policy: string, ...words: string[]): Partial<Chain> => ({
  type: 'filter',
  hook: 'forward',
  policy,
  rules: rules(...words),
});

describe('isolationPlan', () => {
  test('puts one jump into DOCKER-USER and fills its own chains in one script', () => {
    const chains = [chain('ip filter FORWARD', forward('accept')), chain('ip filter DOCKER-USER')];
    expect(isolationPlan(chains, [dcos], true)).toEqual({
      sites: ['ip filter DOCKER-USER'],
      script: `add chain ip filter PORTOLAN-FORWARD
add chain ip filter PORTOLAN-FORWARD-TO
add rule ip filter PORTOLAN-FORWARD iifname "d-dcos" jump PORTOLAN-FORWARD-TO comment "portolan"
add rule ip filter PORTOLAN-FORWARD iifname "m-dcos" jump PORTOLAN-FORWARD-TO comment "portolan"
add rule ip filter PORTOLAN-FORWARD iifname "vtep1024" jump PORTOLAN-FORWARD-TO comment "portolan"
add rule ip filter PORTOLAN-FORWARD iifname "d-dcos" oifname "docker0" accept comment "portolan"
add rule ip filter PORTOLAN-FORWARD iifname "docker0" oifname "d-dcos" accept comment "portolan"
add rule ip filter PORTOLAN-FORWARD-TO oifname "d-dcos" accept comment "portolan"
add rule ip filter PORTOLAN-FORWARD-TO oifname "m-dcos" accept comment "portolan"
add rule ip filter PORTOLAN-FORWARD-TO oifname "vtep1024" accept comment "portolan"
insert rule ip filter DOCKER-USER jump PORTOLAN-FORWARD comment "portolan"
`,
    });
  });

  test('treats IPv6 like IPv4, with the IPv6 halves of the blocks', () => {
    const drop = rules('iifname != "d-dcos" ip6 daddr fd01:b::8000:0:0:2 drop');
    const chains = [
      chain('ip6 raw PREROUTING', { type: 'filter', hook: 'prerouting', policy: 'accept', rules: drop }),
      chain('ip6 filter DOCKER-USER'),
    ];
    const { script, sites } = isolationPlan(chains, [dcos], true);
    expect(sites).toEqual(['ip6 raw PREROUTING', 'ip6 filter DOCKER-USER']);
    expect(script).toContain('add rule ip6 raw PORTOLAN-RAW-TO ip6 daddr fd01:b:0:0:8000::/81 accept');
    expect(script).not.toContain('9.0.0.128');
  });

  test('leaves a raw table alone that drops nothing of an overlay', () => {
    const other = rules('iifname != "docker0" ip daddr 172.17.0.2 drop');
    const raw = chain('ip raw PREROUTING', { type: 'filter', hook: 'prerouting', rules: other });
    expect(isolationPlan([raw], [dcos], true)).toEqual({ sites: [], script: undefined });
  });

  test('prefers DOCKER-USER to isolation chains, and DOCKER-ISOLATION to its successors', () => {
    const names = ['DOCKER-ISOLATION-STAGE-1', 'DOCKER-ISOLATION', 'DOCKER-USER'];
    const chains = names.map((name) => chain(`ip filter ${name}`));
    expect(isolationPlan(chains, [dcos], true).sites).toEqual(['ip filter DOCKER-USER']);
    expect(isolationPlan(chains.slice(0, 2), [dcos], true).sites).toEqual(['ip filter DOCKER-ISOLATION']);
    expect(isolationPlan(chains.slice(0, 1), [dcos], true).sites).toEqual([
      'ip filter DOCKER-ISOLATION-STAGE-1',
    ]);
  });

  test('takes away a jump that another site replaced, by its handle, and the chains nobody jumps to', () => {
    const chains = [
      chain('ip filter DOCKER-ISOLATION-STAGE-1', { rules: rules('jump PORTOLAN-FORWARD', 'return') }),
      chain('ip filter PORTOLAN-FORWARD'),
      chain('ip filter PORTOLAN-OLD', { rules: rules('accept') }),
    ];
    expect(isolationPlan(chains, [], true).script)
      .toBe(`delete rule ip filter DOCKER-ISOLATION-STAGE-1 handle 10
flush chain ip filter PORTOLAN-FORWARD
flush chain ip filter PORTOLAN-OLD
delete chain ip filter PORTOLAN-FORWARD
delete chain ip filter PORTOLAN-OLD
`);
  });

  test('a closed FORWARD chain is opened for overlays only while Docker runs', () => {
    const chains = [chain('ip filter FORWARD', forward('drop'))];
    expect(isolationPlan(chains, [dcos], false)).toEqual({ sites: [], script: undefined });
    expect(isolationPlan(chains, [dcos], true).sites).toEqual(['ip filter FORWARD']);
  });
});

describe('parseChains', () => {
  test('drops counters and comments, keeps matches and verdicts, and marks what it does not know', () => {
    const expr = [
      { match: { op: '==', left: { meta: { key: 'iifname' } }, right: 'm-dcos' } },
      { match: { op: '!=', left: { meta: { key: 'oifname' } }, right: 'd-dcos' } },
      {
        match: {
          op: '==',
          left: { payload: { protocol: 'ip6', field: 'daddr' } },
          right: { prefix: { addr: 'fd01:b:0:0:8000::', len: 81 } },
        },
      },
      { xt: { type: 'match', name: 'comment' } },
      { xt: { type: 'match', name: 'conntrack' } },
      { counter: { packets: 1, bytes: 2 } },
      { jump: { target: 'X' } },
    ];
    const listing = {
      nftables: [
        { metainfo: { version: '1.0.6' } },
        { chain: { family: 'ip', table: 'filter', name: 'A', handle: 1 } },
        { chain: { family: 'inet', table: 'portolan', name: 'B', handle: 1 } },
        { rule: { family: 'ip', table: 'filter', chain: 'A', handle: 7, expr } },
      ],
    };
    const [parsed, ...others] = parseChains([listing]);
    expect(others).toEqual([]);
    expect(parsed?.rules).toEqual([
      {
        handle: 7,
        words: 'iifname "m-dcos" oifname != "d-dcos" ip6 daddr fd01:b:0:0:8000::/81 ?xt jump X',
      },
    ]);
  });

  test('a rule on something unknown is no rule of ours', () => {
    const expr = [{ match: { op: '==', left: { ct: { key: 'state' } }, right: 'new' } }, { vmap: {} }];
    const listing = {
      nftables: [
        { chain: { family: 'ip', table: 'filter', name: 'A' } },
        { rule: { family: 'ip', table: 'filter', chain: 'A', handle: 7, expr } },
      ],
    };
    expect(parseChains([listing])[0]?.rules[0]?.words).toBe('?match ?vmap');
  });
});

describe('which tables matter', () => {
  test("only Docker's, raw ones with a prerouting chain, closed filters and those with rules of ours", () => {
    const chains = [
      chain('ip nat PREROUTING', { type: 'nat', hook: 'prerouting' }),
      chain('ip mangle FORWARD', forward('accept')),
      chain('ip filter FORWARD', forward('drop')),
      chain('ip raw PREROUTING', { type: 'filter', hook: 'prerouting' }),
      chain('ip6 docker-bridges filter-FORWARD', forward('accept')),
    ];
    expect(isolationTables(chains).map(({ family, name }) => `${family} ${name}`)).toEqual([
      'ip filter',
      'ip raw',
      'ip6 docker-bridges',
    ]);
  });

  test('Docker in legacy tables is told apart from Docker without rules', () => {
    expect(hidesBehindLegacyTables([], ['filter', 'nat'], true)).toBe(true);
    expect(hidesBehindLegacyTables([], ['filter'], false)).toBe(false);
    expect(hidesBehindLegacyTables([], [], true)).toBe(false);
    expect(hidesBehindLegacyTables([chain('ip filter DOCKER-USER')], ['filter'], true)).toBe(false);
  });
});
