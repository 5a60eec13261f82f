/**
 * Virtual IPs: what connections through them cost, beside direct ones, HAProxy in TCP mode and iptables' statistic
 * chains; all in one run. What it takes to put them into the kernel is in vip-load.ts.
 */
import { sleep } from '../src/base/clock.ts';
import { addressOfVip, haproxyConfig, iptablesRules } from './support/vip-peers.ts';
import { backend, topology, vipsOn, type Topology } from './support/vip-topology.ts';
import type { Bench, Row } from './support/report.ts';
import { median } from './support/stats.ts';

const FEW = 10;
const MANY = 10_000;
const REPETITIONS = 3;
const PORT = 8080;

export const vip: Bench = {
  name: 'vip',
  about: `VIPs of ten backends: ${FEW} and ${MANY} of them; wrk with 32 connections, one request each, median of ${REPETITIONS}`,
  async run() {
    const ours = await topology('bvo');
    await settle(ours);
    const clean = await times(() => ours.connect(backend(0), PORT));
    const cleanStream = await times(() => ours.stream(backend(0)));
    const vips = vipsOn(ours);
    const few = await vips.ask({ load: FEW });
    const throughFew = await times(() => ours.connect(few.called, PORT));
    const many = await vips.ask({ load: MANY });
    const throughMany = await times(() => ours.connect(many.called, PORT));
    const beside = await times(() => ours.connect(backend(0), PORT));
    const stream = await times(() => ours.stream(many.bulk));
    const haproxy = await throughHaproxy();
    const iptables = await throughIptables();
    const path = (what: string, value: number, peer: number, peerName: string, atLeast: number): Row => ({
      ...{ what, unit: 'conn/s', ours: value, peer, peerName, promise: { atLeast } },
    });
    return [
      path(`${MANY} VIPs loaded`, throughMany, throughFew, `${FEW} VIPs loaded`, 0.9),
      path(`through a VIP of ${MANY}`, throughMany, clean, 'direct', 0.8),
      path(`direct, ${MANY} VIPs loaded`, beside, clean, 'direct, none loaded', 0.9),
      path(`through a VIP of ${MANY}`, throughMany, haproxy, `HAProxy in TCP mode, ${MANY} VIPs`, 1.5),
      path(
        `through a VIP of ${MANY}`,
        throughMany,
        iptables,
        `iptables' statistic chains, ${MANY} VIPs`,
        1.2,
      ),
      {
        ...{
          what: 'one TCP stream through a VIP',
          unit: 'Gb/s',
          ours: stream,
          peer: cleanStream,
          peerName: 'direct',
        },
        promise: { atLeast: 0.95 },
      },
    ];
  },
};

async function times(measure: () => Promise<number>): Promise<number> {
  const values: number[] = [];
  for (let i = 0; i < REPETITIONS; i++) values.push(await measure());
  return median(values);
}

/** Until the backends answer. */
async function settle(each: Topology): Promise<void> {
  for (let tries = 0; ; tries++)
    try {
      await each.connect(backend(0), PORT);
      return;
    } catch (error) {
      if (tries === 10) throw error;
      await sleep(200);
    }
}

async function throughHaproxy(): Promise<number> {
  const peer = await topology('bvh');
  await settle(peer);
  await peer.onHost('ip', ['route', 'add', 'local', '11.0.0.0/8', 'dev', 'lo']);
  const child = peer.startOnHost(['haproxy', '-db', '-f', haproxyConfig(MANY, PORT)]);
  for (let tries = 0; tries < 100; tries++)
    try {
      await peer.connect(addressOfVip(MANY), 80);
      break;
    } catch {
      await sleep(200);
    }
  const rate = await times(() => peer.connect(addressOfVip(MANY), 80));
  child.kill('SIGKILL');
  return rate;
}

async function throughIptables(): Promise<number> {
  const peer = await topology('bvi');
  await settle(peer);
  await peer.onHost('iptables-legacy-restore', [], iptablesRules(MANY, PORT));
  return times(() => peer.connect(addressOfVip(MANY), 80));
}
