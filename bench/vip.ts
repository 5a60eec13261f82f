/**
 * Virtual IPs: what connections through them cost, beside direct ones, the least that nft can do, HAProxy in TCP mode and
 * iptables' statistic chains; all in one run. What it takes to put them into the kernel is in vip-load.ts.
 *
 * All sides are there at once, each on a host of its own, and take turns. HAProxy has one thread, as one CPU is left.
 */
import { sleep } from '../src/base/clock.ts';
import { alternate, compare } from './support/alternate.ts';
import { addressOfVip, haproxyConfig, iptablesRules } from './support/vip-peers.ts';
import { BACKENDS, backend, topology, vipsOn, type Topology } from './support/vip-topology.ts';
import type { Bench, Row } from './support/report.ts';

const FEW = 10;
const MANY = 10_000;
const REPETITIONS = 7;
const STREAM_REPETITIONS = 15;
const PORT = 8080;

export const vip: Bench = {
  name: 'vip',
  about: `VIPs of ten backends: ${FEW} and ${MANY} of them; wrk with 32 connections, one request each, client and servers on a CPU each; median of ${REPETITIONS} alternating repetitions`,
  async run() {
    const none = await ready('bvn');
    const few = await withVips('bvf', FEW);
    const many = await withVips('bvm', MANY);
    const direct = (each: Topology) => () => each.connect(backend(0), PORT);
    const rates = await alternate(
      {
        ...{ none: direct(none), directFew: direct(few.host), directMany: direct(many.host) },
        few: () => few.host.connect(few.called, PORT),
        many: () => many.host.connect(many.called, PORT),
        haproxy: await throughHaproxy(),
        iptables: await throughIptables(),
        rule: await throughOneRule(),
      },
      REPETITIONS,
    );
    const streams = await alternate(
      {
        none: () => none.stream(backend(0)),
        tracked: await directTracked(),
        direct: () => many.host.stream(backend(0)),
        through: () => many.host.stream(many.bulk),
        without: () => many.withoutFastPath(() => many.host.stream(many.bulk)),
      },
      STREAM_REPETITIONS,
    );
    const row = (
      what: string,
      side: keyof typeof rates,
      peer: keyof typeof rates,
      peerName: string,
    ): Row => ({
      ...{ what, unit: 'conn/s', peerName },
      ...compare(rates[side], rates[peer]),
    });
    const path = (peer: keyof typeof rates, peerName: string): Row =>
      row(`through a VIP of ${MANY}`, 'many', peer, peerName);
    const loaded = `direct, ${MANY} VIPs loaded`;
    const stream = (peer: keyof typeof streams, peerName: string): Row => ({
      ...{ what: 'one TCP stream through a VIP', unit: 'Gb/s', peerName },
      ...compare(streams.through, streams[peer]),
    });
    return [
      promise(path('few', `through one of ${FEW}`), 0.9),
      promise(path('none', 'direct, no VIPs loaded'), 0.8),
      path('directMany', loaded),
      promise(row(loaded, 'directMany', 'directFew', `direct, ${FEW} VIPs loaded`), 0.9),
      row(loaded, 'directMany', 'none', 'direct, no VIPs loaded'),
      path('rule', 'one nft rule for one VIP, ten backends'),
      promise(path('haproxy', `HAProxy in TCP mode, ${MANY} VIPs`), 1.5),
      promise(path('iptables', `iptables' statistic chains, ${MANY} VIPs`), 1.2),
      promise(stream('none', 'direct, no VIPs loaded, connections not tracked'), 0.95),
      stream('tracked', 'direct, no VIPs loaded, connections tracked'),
      stream('direct', loaded),
      stream('without', 'without the fast path'),
    ];
  },
};

const promise = (row: Row, atLeast: number): Row => ({ ...row, promise: { atLeast } });

/** Once the backends answer. */
async function ready(name: string): Promise<Topology> {
  const each = await topology(name);
  await answers(each, backend(0), PORT);
  return each;
}

async function answers(each: Topology, address: string, port: number): Promise<void> {
  for (let tries = 0; ; tries++)
    try {
      await each.connect(address, port);
      return;
    } catch (error) {
      if (tries === 100) throw error;
      await sleep(200);
    }
}

async function withVips(name: string, count: number) {
  const host = await ready(name);
  const vips = vipsOn(host);
  const { called, bulk } = await vips.ask({ load: count });
  await vips.ask({ ports: host.ports });
  const withoutFastPath = async (measure: () => Promise<number>): Promise<number> => {
    await vips.ask({ ports: [] });
    const rate = await measure();
    await vips.ask({ ports: host.ports });
    return rate;
  };
  return { host, called, bulk, withoutFastPath };
}

/** As on every host where Docker, a firewall or an agent of ours is: the kernel knows each packet's connection. */
async function directTracked(): Promise<() => Promise<number>> {
  const peer = await ready('bvt');
  await peer.onHost(
    'nft',
    ['-f', '-'],
    'table inet tracked { chain forward { type filter hook forward priority 0; ct state established accept; }; }',
  );
  return () => peer.stream(backend(0));
}

async function throughHaproxy(): Promise<() => Promise<number>> {
  const peer = await ready('bvh');
  await peer.onHost('ip', ['route', 'add', 'local', '11.0.0.0/8', 'dev', 'lo']);
  peer.startOnHost(['haproxy', '-db', '-f', haproxyConfig(MANY, PORT)]);
  await answers(peer, addressOfVip(MANY), 80);
  return () => peer.connect(addressOfVip(MANY), 80);
}

/** The least that nft can do: what more ours costs is for all it does more. */
async function throughOneRule(): Promise<() => Promise<number>> {
  const peer = await ready('bvr');
  const backends = Array.from({ length: BACKENDS }, (_, i) => `${i} : ${backend(i)}`).join(', ');
  const to = `numgen random mod ${BACKENDS} map { ${backends} }`;
  await peer.onHost(
    'nft',
    ['-f', '-'],
    `table ip one {
      chain nat {
        type nat hook prerouting priority dstnat
        ip daddr ${addressOfVip(1)} tcp dport ${PORT} dnat to ${to}
      }
    }`,
  );
  return () => peer.connect(addressOfVip(1), PORT);
}

async function throughIptables(): Promise<() => Promise<number>> {
  const peer = await ready('bvi');
  await peer.onHost('iptables-legacy-restore', [], iptablesRules(MANY, PORT));
  return () => peer.connect(addressOfVip(MANY), 80);
}
