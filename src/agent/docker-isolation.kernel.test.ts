import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { nftOf } from '../../test/support/nft.ts';
import { silentLog } from '../base/log.ts';
import { prefix } from '../base/ip.ts';
import type { IsolationOverlay } from '../overlay/docker-isolation.ts';
import { mustRun, runCommand } from '../runtime/command.ts';
import { createDockerIsolation, type DockerIsolation } from './docker-isolation.ts';

/** host: m-dcos with container m, d-dcos with d, d-blue of another overlay with b, docker0 with z, vtep1024 with remote container r, eth0 with outsider o. */
const host = `pdk-iso-${process.pid}`;
const peers = {
  m: { device: 'm-dcos', address: '9.0.0.2', gateway: '9.0.0.1', length: 25 },
  d: { device: 'd-dcos', address: '9.0.0.130', gateway: '9.0.0.129', length: 25 },
  b: { device: 'd-blue', address: '11.0.0.130', gateway: '11.0.0.129', length: 25 },
  z: { device: 'docker0', address: '172.17.0.2', gateway: '172.17.0.1', length: 16 },
  r: { device: 'vtep1024', address: '9.0.1.2', gateway: '9.0.1.1', length: 24 },
  o: { device: 'eth0', address: '10.0.0.9', gateway: '10.0.0.1', length: 24 },
} as const;
type Peer = keyof typeof peers;
const overlays: readonly IsolationOverlay[] = [
  { name: 'dcos', dockerSubnets: [prefix('9.0.0.128/25')] },
  { name: 'blue', dockerSubnets: [prefix('11.0.0.128/25')] },
];
const options = { timeoutMs: 10_000 };
const inside = (name: string): string[] => ['nsenter', `--net=/run/netns/${name}`, '--'];

const nft = nftOf(host);
const nftScript = nft.run;

function isolation(): DockerIsolation {
  return createDockerIsolation({ nft, legacyTables: () => Promise.resolve([]), log: silentLog });
}

async function reaches(from: Peer, to: Peer): Promise<boolean> {
  const ping = ['busybox', 'ping', '-c', '1', '-W', '1', peers[to].address];
  return (await runCommand([...inside(`${host}-${from}`), ...ping], options)).status === 0;
}

/** Every pair of overlay peers, both ways, in one sweep; the pairs that fail. */
async function cutPairs(): Promise<readonly string[]> {
  const pairs: [Peer, Peer][] = [
    ['m', 'd'],
    ['d', 'm'],
    ['r', 'd'],
    ['d', 'r'],
    ['r', 'm'],
    ['m', 'r'],
    ['d', 'b'],
    ['b', 'd'],
    ['m', 'b'],
    ['z', 'd'],
    ['d', 'z'],
  ];
  const results = await Promise.all(
    pairs.map(async ([from, to]) => ((await reaches(from, to)) ? '' : from + to)),
  );
  return results.filter(Boolean);
}

beforeAll(async () => {
  const lines = [`netns add ${host}`, ...Object.keys(peers).map((name) => `netns add ${host}-${name}`)];
  await mustRun(['ip', '-batch', '-'], { ...options, input: `${lines.join('\n')}\n` });
  for (const [name, { device, address, gateway, length }] of Object.entries(peers)) {
    // The VTEP and eth0 are ends of veth pairs here: what isolation looks at is their names.
    const port = device === 'vtep1024' || device === 'eth0' ? device : `port-${name}`;
    const bridge =
      port === device ? [] : [`link add ${device} type bridge`, `link set ${port} master ${device} up`];
    const hostLines = [
      `link add ${port} type veth peer name eth0 netns ${host}-${name}`,
      ...bridge,
      `address add ${gateway}/${length} dev ${device}`,
      `link set ${device} up`,
    ];
    const peerLines = [
      `address add ${address}/${length} dev eth0`,
      'link set eth0 up',
      `route add default via ${gateway}`,
    ];
    await mustRun(['ip', '-n', host, '-batch', '-'], { ...options, input: `${hostLines.join('\n')}\n` });
    await mustRun(['ip', '-n', `${host}-${name}`, '-batch', '-'], {
      ...options,
      input: `${peerLines.join('\n')}\n`,
    });
  }
  await mustRun([...inside(host), 'sysctl', '-qw', 'net.ipv4.ip_forward=1'], options);
});

afterAll(async () => {
  for (const name of [host, ...Object.keys(peers).map((peer) => `${host}-${peer}`)])
    await runCommand(['ip', 'netns', 'del', name], options);
});

beforeEach(async () => {
  await nftScript('flush ruleset\n');
});

const isolationRules = (stage1: string, stage2: string): string => `
  chain ${stage1} {
    iifname "d-dcos" oifname != "d-dcos" counter jump ${stage2}
    iifname "d-blue" oifname != "d-blue" counter jump ${stage2}
    iifname "docker0" oifname != "docker0" counter jump ${stage2}
    counter return
  }
  chain ${stage2} {
    oifname "d-dcos" counter drop
    oifname "d-blue" counter drop
    oifname "docker0" counter drop
    counter return
  }`;

const perBridge = `
    oifname "d-dcos" ct state related,established counter accept
    oifname "d-dcos" counter jump DOCKER
    iifname "d-dcos" oifname != "d-dcos" counter accept
    iifname "d-dcos" oifname "d-dcos" counter accept`;

/** As dockerd of each age leaves them, forwarding turned on by Docker itself (policy drop). */
const generations: Readonly<Record<string, { readonly rules: string; readonly sites: readonly string[] }>> = {
  'Docker 1.13 (DOCKER-ISOLATION, no DOCKER-USER)': {
    rules: `table ip filter {
  chain DOCKER { }
  chain DOCKER-ISOLATION {
    iifname "d-blue" oifname "d-dcos" counter drop
    iifname "d-dcos" oifname "d-blue" counter drop
    iifname "d-dcos" oifname "docker0" counter drop
    iifname "docker0" oifname "d-dcos" counter drop
    counter return
  }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    counter jump DOCKER-ISOLATION
    ${perBridge}
  }
}`,
    sites: ['ip filter DOCKER-ISOLATION', 'ip filter FORWARD'],
  },
  'Docker 20.10 (DOCKER-USER and isolation stages)': {
    rules: `table ip filter {
  chain DOCKER { }
  ${isolationRules('DOCKER-ISOLATION-STAGE-1', 'DOCKER-ISOLATION-STAGE-2')}
  chain DOCKER-USER { counter return; }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    counter jump DOCKER-USER
    counter jump DOCKER-ISOLATION-STAGE-1
    ${perBridge}
  }
}`,
    sites: ['ip filter DOCKER-USER', 'ip filter FORWARD'],
  },
  'Docker 18.03 without DOCKER-USER (isolation stages alone)': {
    rules: `table ip filter {
  chain DOCKER { }
  ${isolationRules('DOCKER-ISOLATION-STAGE-1', 'DOCKER-ISOLATION-STAGE-2')}
  chain FORWARD {
    type filter hook forward priority filter; policy accept;
    counter jump DOCKER-ISOLATION-STAGE-1
    ${perBridge}
  }
}`,
    sites: ['ip filter DOCKER-ISOLATION-STAGE-1'],
  },
  'Docker 28 (DOCKER-FORWARD, direct access dropped in raw)': {
    rules: `table ip raw {
  chain PREROUTING {
    type filter hook prerouting priority raw; policy accept;
    iifname != "d-dcos" ip daddr 9.0.0.130 counter drop
  }
}
table ip filter {
  ${isolationRules('DOCKER-ISOLATION-STAGE-1', 'DOCKER-ISOLATION-STAGE-2')}
  chain DOCKER-USER { }
  chain DOCKER {
    iifname != "d-dcos" oifname "d-dcos" counter drop
  }
  chain DOCKER-BRIDGE { oifname "d-dcos" counter jump DOCKER; }
  chain DOCKER-CT { oifname "d-dcos" ct state related,established counter accept; }
  chain DOCKER-FORWARD {
    counter jump DOCKER-CT
    counter jump DOCKER-ISOLATION-STAGE-1
    counter jump DOCKER-BRIDGE
    iifname "d-dcos" counter accept
  }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    counter jump DOCKER-USER
    counter jump DOCKER-FORWARD
  }
}`,
    sites: ['ip raw PREROUTING', 'ip filter DOCKER-USER', 'ip filter FORWARD'],
  },
  "Docker 29's nftables mode": {
    rules: `table ip docker-bridges {
  map filter-forward-in-jumps {
    type ifname : verdict
    elements = { "d-dcos" : jump filter-forward-in__d-dcos }
  }
  map filter-forward-out-jumps {
    type ifname : verdict
    elements = { "d-dcos" : jump filter-forward-out__d-dcos }
  }
  chain filter-FORWARD {
    type filter hook forward priority filter; policy accept;
    oifname vmap @filter-forward-in-jumps
    iifname vmap @filter-forward-out-jumps
  }
  chain raw-PREROUTING {
    type filter hook prerouting priority raw; policy accept;
    ip daddr 9.0.0.130 iifname != "d-dcos" counter drop comment "DROP DIRECT ACCESS"
  }
  chain filter-forward-in__d-dcos {
    ct state established,related counter accept
    iifname "d-dcos" counter accept comment "ICC"
    counter drop comment "UNPUBLISHED PORT DROP"
  }
  chain filter-forward-out__d-dcos {
    ct state established,related counter accept
    counter accept comment "OUTGOING"
  }
}`,
    sites: ['ip docker-bridges filter-FORWARD', 'ip docker-bridges raw-PREROUTING'],
  },
};

describe.each(Object.entries(generations))('%s', (_name, { rules, sites }) => {
  test('isolation cuts the bridges of an overlay, and our rules join them', async () => {
    await nftScript(rules);
    expect(await cutPairs()).not.toEqual([]);
    const report = await isolation().ensure(overlays, true);
    expect(report).toMatchObject({ changed: true, problem: undefined });
    expect([...report.sites].sort()).toEqual([...sites].sort());
    expect(await cutPairs()).toEqual([]);
  });

  test('a second look changes nothing', async () => {
    await nftScript(rules);
    const subject = isolation();
    await subject.ensure(overlays, true);
    expect(await subject.ensure(overlays, true)).toMatchObject({ changed: false });
    expect(await isolation().ensure(overlays, true)).toMatchObject({ changed: false });
  });

  test('without overlays every trace of us is removed', async () => {
    await nftScript(rules);
    const before = await mustRun([...inside(host), 'nft', '-s', 'list', 'ruleset'], options);
    const subject = isolation();
    await subject.ensure(overlays, true);
    expect(await subject.ensure([], true)).toEqual({ sites: [], changed: true, problem: undefined });
    expect(await mustRun([...inside(host), 'nft', '-s', 'list', 'ruleset'], options)).toBe(before);
  });
});

test('without rules every pair of the topology reaches the other', async () => {
  expect(await cutPairs()).toEqual([]);
  expect([await reaches('m', 'o'), await reaches('o', 'm'), await reaches('o', 'd')]).toEqual([
    true,
    true,
    true,
  ]);
});

/** What dockerd 20.10 writes by iptables for one network on d-dcos. */
const docker20 = `*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o d-dcos -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o d-dcos -j DOCKER
-A FORWARD -i d-dcos ! -o d-dcos -j ACCEPT
-A FORWARD -i d-dcos -o d-dcos -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i d-dcos ! -o d-dcos -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o d-dcos -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
`;

describe('in chains that iptables owns', () => {
  beforeEach(async () => {
    await mustRun([...inside(host), 'iptables-nft-restore'], { ...options, input: docker20 });
  });

  test("Docker's policy drop does not cut an m- bridge off from the world", async () => {
    expect([await reaches('m', 'o'), await reaches('o', 'm')]).toEqual([false, false]);
    await isolation().ensure(overlays, true);
    expect([await reaches('m', 'o'), await reaches('o', 'm')]).toEqual([true, true]);
  });

  test("what Docker's isolation keeps from a d- bridge from outside stays kept", async () => {
    await isolation().ensure(overlays, true);
    expect(await reaches('o', 'd')).toBe(false);
  });

  test('iptables still reads, saves and restores the table with our rules in it, and we know them again', async () => {
    const subject = isolation();
    await subject.ensure(overlays, true);
    const listed = await mustRun([...inside(host), 'iptables-nft', '-S'], options);
    expect(listed).toContain('-A DOCKER-USER -m comment --comment portolan -j PORTOLAN-FORWARD');
    await mustRun(
      [
        ...inside(host),
        'sh',
        '-c',
        'iptables-nft-save > /tmp/$0 && iptables-nft-restore < /tmp/$0; rm /tmp/$0',
        host,
      ],
      options,
    );
    expect(await subject.ensure(overlays, true)).toMatchObject({ changed: false });
    expect(await cutPairs()).toEqual([]);
  });

  test('flushed, shadowed or doubled rules are mended', async () => {
    const subject = isolation();
    await subject.ensure(overlays, true);
    const harms = [
      'flush chain ip filter DOCKER-USER\nadd rule ip filter DOCKER-USER counter return\n',
      'flush chain ip filter PORTOLAN-FORWARD\n',
      'insert rule ip filter DOCKER-USER counter return\n',
      'insert rule ip filter DOCKER-USER jump PORTOLAN-FORWARD\n',
      'flush table ip filter\n',
      'flush ruleset\ntable ip filter {\n chain FORWARD { type filter hook forward priority filter; policy drop; }\n}\n',
    ];
    for (const harm of harms) {
      await nftScript(harm);
      expect(await subject.ensure(overlays, true), harm).toMatchObject({ changed: true });
      expect(await cutPairs(), harm).toEqual([]);
    }
  });

  test('a rule that a person put first into DOCKER-USER stays first', async () => {
    const subject = isolation();
    await subject.ensure(overlays, true);
    await nftScript('insert rule ip filter DOCKER-USER ip saddr 9.0.0.2 ip daddr 9.0.0.130 counter drop\n');
    expect(await subject.ensure(overlays, true)).toMatchObject({ changed: false });
    expect(await cutPairs()).toEqual(['md', 'dm']);
  });

  test('a second overlay, added and taken away, changes only our chains', async () => {
    const subject = isolation();
    await subject.ensure(overlays, true);
    const two = [...overlays, { name: 'green', dockerSubnets: [prefix('12.0.0.128/25')] }];
    expect(await subject.ensure(two, true)).toMatchObject({ changed: true });
    expect(await mustRun([...inside(host), 'nft', 'list', 'table', 'ip', 'filter'], options)).toContain(
      'm-green',
    );
    expect(await subject.ensure(overlays, true)).toMatchObject({ changed: true });
    expect(await mustRun([...inside(host), 'nft', 'list', 'table', 'ip', 'filter'], options)).not.toContain(
      'm-green',
    );
  });

  test('a host without Docker is left as it is', async () => {
    await nftScript(
      'flush ruleset\ntable ip filter {\n chain FORWARD { type filter hook forward priority filter; policy drop; }\n}\n',
    );
    expect(await isolation().ensure(overlays, false)).toEqual({
      sites: [],
      changed: false,
      problem: undefined,
    });
  });
});
