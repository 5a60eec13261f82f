/**
 * The DNS server of this host: UDP and TCP on the addresses that every container and the host itself ask.
 *
 * Purpose: takes a query, has it answered from the names of the cluster, or asks an upstream.
 * Invariants: no query waits for a master, nor for anything but an upstream; every query that can be read gets one
 * answer, if only a refusal.
 * Review notes: `#onDatagram` is called for every query; what it does not need is in the other functions.
 */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { NOT_OURS, type Answerer } from '../dns/answer.ts';
import { TCP_BYTES_MAX, UDP_BYTES_MAX } from '../dns/constants.ts';
import { fitted } from '../dns/forward.ts';
import { readQuery, type Query } from '../dns/query.ts';
import type { ForwardingRules, Route } from '../dns/upstreams.ts';
import { writeRefusal } from '../dns/writer.ts';
import type { Datagram, Udp, UdpServer } from '../kernel/udp/types.ts';
import type { DnsListen } from '../overlay/dns-interface.ts';
import { DnsForwarding } from './dns-forwarding.ts';
import { listenDnsTcp, TcpLimits, type DnsTcpListener } from './dns-tcp.ts';

export interface DnsServerComponents {
  readonly udp: Udp;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface DnsServerInit {
  readonly listen: DnsListen;
  readonly answerer: Answerer;
  readonly rules: ForwardingRules;
}

type Outcome = 'answered' | 'forwarded' | 'refused' | 'ignored';

export class DnsServer {
  readonly #answerer: Answerer;
  readonly #forwarding: DnsForwarding;
  readonly #counts: Record<Outcome, number> = { answered: 0, forwarded: 0, refused: 0, ignored: 0 };
  readonly #long = Buffer.alloc(TCP_BYTES_MAX);
  readonly #udp: UdpServer[] = [];
  readonly #tcp: DnsTcpListener[] = [];

  /** Resolves when it listens on all addresses, whether they are there yet or not. */
  static async open(components: DnsServerComponents, init: DnsServerInit): Promise<DnsServer> {
    const server = new DnsServer(components, init);
    try {
      await server.#listen(components, init.listen);
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  private constructor(components: DnsServerComponents, init: DnsServerInit) {
    this.#answerer = init.answerer;
    this.#forwarding = new DnsForwarding(components, { rules: init.rules });
    components.metrics.read(
      'counter',
      'dns_queries_total',
      'Queries by what became of them',
      ['outcome'],
      () => Object.entries(this.#counts).map(([outcome, count]) => [{ outcome }, count] as const),
    );
  }

  /** The ports really bound, by address in the order given. */
  get ports(): readonly { readonly udp: number; readonly tcp: number }[] {
    return this.#udp.map((server, i) => ({ udp: server.port, tcp: this.#tcp[i]?.port ?? 0 }));
  }

  setRules(rules: ForwardingRules): void {
    this.#forwarding.setRules(rules);
  }

  /** Whom a name is for that is not ours: the forward zone, and its servers. */
  route(key: string): Route {
    return this.#forwarding.route(key);
  }

  /** As a client would over TCP; `undefined` for what gets no answer. */
  ask(packet: Buffer): Promise<Buffer | undefined> {
    return new Promise((resolve) => this.#onPacket(packet, resolve));
  }

  async close(): Promise<void> {
    this.#forwarding.close();
    for (const server of [...this.#udp, ...this.#tcp]) await server.close();
  }

  async #listen(components: DnsServerComponents, { addresses, port }: DnsListen): Promise<void> {
    const limits = new TcpLimits();
    for (const address of addresses) {
      const udp: UdpServer = await components.udp.serve({
        address,
        port,
        onDatagram: (datagram, reply) => this.#onDatagram(datagram, reply, () => udp),
      });
      this.#udp.push(udp);
      const init = { address, port: port === 0 ? udp.port : port };
      const onQuery = this.#onPacket.bind(this);
      this.#tcp.push(await listenDnsTcp({ ...components, limits }, { ...init, onQuery }));
    }
  }

  #onDatagram(datagram: Datagram, reply: Buffer, server: () => UdpServer): number {
    const { bytes } = datagram;
    const query = readQuery(bytes, datagram.length);
    if (query === undefined) {
      this.#counts.ignored++;
      return 0;
    }
    const length = this.#answer(query, bytes, reply, query.udpBytes);
    if (length !== NOT_OURS) return length;
    const peer = datagram.peer();
    const there = this.#forwarding.ask(
      { reply: (packet) => server().send(peer, fitted(packet, query.questionEnd, query.udpBytes)) },
      query,
      Buffer.from(bytes.subarray(0, query.questionEnd)),
    );
    return there === undefined ? 0 : fitted(there, query.questionEnd, query.udpBytes).copy(reply);
  }

  #onPacket(packet: Buffer, reply: (answer: Buffer | undefined) => void): void {
    const query = readQuery(packet, packet.length);
    if (query === undefined) {
      this.#counts.ignored++;
      reply(undefined);
      return;
    }
    const length = this.#answer(query, packet, this.#long, TCP_BYTES_MAX);
    if (length !== NOT_OURS) {
      reply(Buffer.from(this.#long.subarray(0, length)));
      return;
    }
    const head = Buffer.from(packet.subarray(0, query.questionEnd));
    const there = this.#forwarding.ask({ reply }, query, head);
    if (there !== undefined) reply(there);
  }

  #answer(query: Query, packet: Buffer, out: Buffer, limit: number): number {
    if (query.rcode !== 0) {
      this.#counts.refused++;
      return writeRefusal(packet, query, out, UDP_BYTES_MAX);
    }
    const length = this.#answerer.answer(query, packet, out, limit);
    this.#counts[length === NOT_OURS ? 'forwarded' : 'answered']++;
    return length;
  }
}
