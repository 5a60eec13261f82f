/**
 * "Why can A not reach B?": puts together what each host on the way says of its part.
 *
 * Purpose: finds out who A and B are, walks this host's part over its real kernel state, asks the agents of the hosts
 * that follow for theirs, and then for the way of the answer.
 * Invariants: reads only; a host that does not answer is a hop that says so.
 */
import { isPortolanError, PortolanError } from '../../base/errors.ts';
import { ip, parseIp } from '../../base/ip.ts';
import { answered } from '../../http/errors.ts';
import { request } from '../../http/client.ts';
import type { Kernel } from '../../kernel/types.ts';
import {
  TRACE_LEG_PATH,
  TRACE_PATH,
  traceLeg,
  traceResult,
  type TraceHop,
  type TraceLeg,
  type TraceLegRequest,
  type TracePacket,
  type TraceResult,
} from '../../model/trace.ts';
import type { KnownNode, RecordView } from '../../node/record-view.ts';
import { sourceFor } from '../../trace/lookup.ts';
import type { HostState } from '../../trace/state.ts';
import { walk } from '../../trace/walk.ts';
import { findEnd, parseTarget, type End } from './ends.ts';

/** A way has two ends; more hosts than this between them is a loop. */
const MAX_LEGS = 4;
const LEG_TIMEOUT_MS = 5000;

export interface TraceQuestion {
  readonly from: string;
  readonly to: string;
  readonly protocol: 'tcp' | 'udp';
}

export interface TracerComponents {
  readonly kernel: Kernel;
  readonly records: Pick<RecordView, 'tasks' | 'nodes'>;
}

export interface TracerInit {
  /** This node's name. */
  readonly host: string;
  observe(concerned: ReadonlySet<string>): Promise<HostState>;
  /** Addresses of a VIP by a name of it; with a port, of the one that a label would write so. */
  vipAddresses(
    name: string,
    at?: { readonly port: number; readonly protocol: 'tcp' | 'udp' },
  ): readonly string[];
  /** Where a packet to a VIP goes: the backend that the walk takes. */
  backendOf(packet: TracePacket): string | undefined;
}

export class Tracer {
  readonly #components: TracerComponents;
  readonly #init: TracerInit;

  constructor(components: TracerComponents, init: TracerInit) {
    this.#components = components;
    this.#init = init;
  }

  /** This host's part. */
  async leg(question: TraceLegRequest): Promise<TraceLeg> {
    const { source, destination } = question.packet;
    const backend = this.#init.backendOf(question.packet);
    const ends = [source, destination, ...(backend === undefined ? [] : [backend])];
    const state = await this.#init.observe(this.#concerned(ends));
    return walk(state, question);
  }

  /** Rejects with 'not-found' or 'conflict' when A or B is nobody or may be several. */
  async trace(question: TraceQuestion, { forward }: { readonly forward: boolean }): Promise<TraceResult> {
    const { records } = this.#components;
    const target = parseTarget(question.to);
    const from = findEnd(records, 'from', question.from);
    if (from.node.name !== this.#init.host && forward) return askTrace(from.node, question);
    const packet = await this.#packet(question, from, target);
    const there = await this.#follow(from.node, { packet, answer: false });
    const base = {
      from: question.from,
      to: question.to,
      packet,
      hops: there.hops,
      doubts: doubtsOf(there.hops),
    };
    if (there.leg.end.kind === 'left') return { ...base, arrives: true, back: [] };
    if (there.leg.end.kind !== 'delivered') return { ...base, ...failure(there.hops), back: [] };
    const answer: TracePacket = {
      source: there.leg.packet.destination,
      destination: packet.source,
      protocol: packet.protocol,
      ...(there.leg.packet.port === undefined ? {} : { sourcePort: there.leg.packet.port }),
    };
    const back = await this.#follow(there.node, { packet: answer, answer: true });
    const both = { ...base, doubts: doubtsOf([...there.hops, ...back.hops]), back: back.hops };
    return back.leg.end.kind === 'stopped' ? { ...both, ...failure(back.hops) } : { ...both, arrives: true };
  }

  async #packet(
    { protocol }: TraceQuestion,
    from: End,
    target: { readonly host: string; readonly port: number | undefined },
  ): Promise<TracePacket> {
    const destination = this.#destination(target, from, protocol);
    const source = from.isHost
      ? await this.#hostSource(destination, from.node.address)
      : from.addresses.find((each) => ip(each).family === ip(destination).family);
    if (source === undefined && from.addresses.length === 0 && !from.isHost)
      throw new PortolanError('invalid', `Cannot send from "${from.name}": its network is none of ours`, {
        field: 'from',
        remedy: `trace from its host, "${from.node.name}"`,
      });
    if (source === undefined)
      throw new PortolanError(
        'invalid',
        `Cannot send from "${from.name}" to ${destination}: it has no address of that family`,
        {
          field: 'to',
          remedy: `give an address of one of its families: ${(from.isHost ? [from.node.address] : from.addresses).join(', ')}`,
        },
      );
    if (target.port === undefined) return { source, destination, protocol: 'icmp' };
    return { source, destination, protocol, port: target.port };
  }

  /** The host sends from the address that its route takes; where it has none its own will do to say so. */
  async #hostSource(destination: string, own: string): Promise<string | undefined> {
    const state = await this.#init.observe(new Set());
    const found = sourceFor(state, ip(destination));
    if (found !== undefined) return String(found);
    return ip(own).family === ip(destination).family ? own : undefined;
  }

  #destination(
    { host, port }: { readonly host: string; readonly port: number | undefined },
    from: End,
    protocol: 'tcp' | 'udp',
  ): string {
    if (parseIp(host) !== undefined) return host;
    const families = from.isHost ? [4] : from.addresses.map((each) => ip(each).family);
    const reachable = (addresses: readonly string[]): string | undefined =>
      addresses.find((each) => families.includes(ip(each).family)) ?? addresses[0];
    // An app often has the name of its VIP: with the VIP's port it is the VIP that is meant, else its tasks.
    const meant = port === undefined ? [] : this.#init.vipAddresses(host, { port, protocol });
    const vip = reachable(meant);
    if (vip !== undefined) return vip;
    const end = findEnd(this.#components.records, 'to', host, (name) =>
      reachable(this.#init.vipAddresses(name)),
    );
    if (typeof end === 'string') return end;
    const address = reachable(end.isHost ? [end.node.address] : end.addresses);
    if (address !== undefined) return address;
    throw new PortolanError('not-found', `Cannot send to "${host}": it has no address`, { field: 'to' });
  }

  /** From host to host until somebody has the packet. */
  async #follow(
    start: KnownNode,
    question: TraceLegRequest,
  ): Promise<{ readonly hops: TraceHop[]; readonly leg: TraceLeg; readonly node: KnownNode }> {
    const hops: TraceHop[] = [];
    let node = start;
    let next = question;
    for (let count = 0; ; count++) {
      const leg = await this.#legOf(node, next);
      hops.push(...leg.hops);
      if (leg.end.kind !== 'tunnel' || count === MAX_LEGS) return { hops, leg, node };
      const { tunnel } = leg.end;
      const following = this.#components.records
        .nodes()
        .find(({ address }) => address === tunnel.outerDestination);
      if (following === undefined) return { hops, leg: lost(hops, leg, tunnel.outerDestination), node };
      node = following;
      next = { packet: leg.packet, tunnel, answer: question.answer };
    }
  }

  async #legOf(node: KnownNode, question: TraceLegRequest): Promise<TraceLeg> {
    if (node.name === this.#init.host) return this.leg(question);
    try {
      return traceLeg.parse(
        answered(
          await request(
            { host: node.address, port: node.api_port },
            { method: 'POST', path: TRACE_LEG_PATH, body: question, timeoutMs: LEG_TIMEOUT_MS },
          ),
        ),
      );
    } catch (error) {
      if (!isPortolanError(error)) throw error;
      const hop: TraceHop = {
        host: node.name,
        at: 'underlay',
        ok: false,
        what: `${node.name} ${node.address}`,
        reason: `the agent of ${node.name} does not answer: ${error.message}`,
        remedy: `see whether the host is up, and its agent: "portolan node inspect ${node.name}"`,
      };
      return { hops: [hop], packet: question.packet, end: { kind: 'stopped' } };
    }
  }

  #concerned(addresses: readonly string[]): ReadonlySet<string> {
    const all = new Set(addresses);
    for (const { task } of this.#components.records.tasks())
      for (const { addresses: own } of task.networks)
        if (own.some((each) => all.has(each))) for (const each of own) all.add(each);
    return all;
  }
}

function lost(hops: TraceHop[], leg: TraceLeg, outer: string): TraceLeg {
  const last = hops.at(-1);
  hops.push({
    host: last?.host ?? '',
    at: 'underlay',
    ok: false,
    what: `to ${outer}`,
    reason: `no node of the cluster has the address ${outer}`,
    remedy: 'its entries go with the node: see "portolan node ls"',
  });
  return { ...leg, end: { kind: 'stopped' } };
}

const doubtsOf = (hops: readonly TraceHop[]): string[] =>
  hops.flatMap(({ host, doubts = [] }) => doubts.map((doubt) => `${host}: ${doubt}`));

function failure(hops: readonly TraceHop[]): {
  readonly arrives: false;
  readonly reason: string;
  readonly remedy?: string;
} {
  const stop = hops.findLast(({ ok }) => !ok);
  return {
    arrives: false,
    reason: `${stop?.host ?? ''}: ${stop?.reason ?? 'the way is longer than any can be'}`,
    ...(stop?.remedy === undefined ? {} : { remedy: stop.remedy }),
  };
}

/** By the agent that the packet starts at. */
async function askTrace(node: KnownNode, question: TraceQuestion): Promise<TraceResult> {
  const query = new URLSearchParams({ ...question, forwarded: 'true' });
  const answer = await request(
    { host: node.address, port: node.api_port },
    { method: 'GET', path: `${TRACE_PATH}?${query.toString()}`, timeoutMs: LEG_TIMEOUT_MS * MAX_LEGS },
  );
  return traceResult.parse(answered(answer));
}
