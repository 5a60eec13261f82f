/**
 * The forwarder's sockets and timers: performs what its core says, and decides nothing.
 *
 * Each question to an upstream has a socket of its own, hence a port that nobody can guess (RFC 5452), and learns at
 * once when nobody listens there.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.ts';
import type { Counter, Histogram, Metrics } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { Forwarder, type ForwardEffect } from '../dns/forward.ts';
import type { Query } from '../dns/query.ts';
import { upstreamText, type ForwardingRules, type Route, type Upstream } from '../dns/upstreams.ts';
import { frame, FrameReader } from './dns-frames.ts';

const TICK_MS = 100;

/** Who asked, and how to answer. */
export interface DnsClient {
  reply(packet: Buffer, query: Query): void;
}

interface Attempt {
  readonly upstream: Upstream;
  readonly startMs: number;
  close(): void;
}

export interface ForwardingComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
}

export class DnsForwarding {
  readonly #components: ForwardingComponents;
  readonly #core: Forwarder<DnsClient>;
  readonly #attempts = new Map<number, Attempt>();
  readonly #metrics: ForwardingMetrics;
  #timer: Timer | undefined;
  #closed = false;

  constructor(components: ForwardingComponents, init: { readonly rules: ForwardingRules }) {
    this.#components = components;
    this.#core = new Forwarder(components, init);
    this.#metrics = forwardingMetrics(components.metrics, () => this.#core.cacheSize);
  }

  setRules(rules: ForwardingRules): void {
    this.#core.setRules(rules);
  }

  route(key: string): Route {
    return this.#core.route(key);
  }

  /** `head`: header and question as the client sent them. Answers an answer that is there already, for the caller to give. */
  ask(client: DnsClient, query: Query, head: Buffer): Buffer | undefined {
    if (this.#closed) return undefined;
    const effects = this.#core.step({ kind: 'ask', client, query, head }, this.#components.clock.nowMs());
    const [first] = effects;
    const isThere = first?.do === 'reply' && first.client === client;
    this.#perform(isThere ? effects.slice(1) : effects);
    return isThere ? first.packet : undefined;
  }

  /** Whoever still waits gets nothing: the server is going away. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const attempt of this.#attempts.values()) attempt.close();
    this.#attempts.clear();
  }

  #step(event: Parameters<Forwarder<DnsClient>['step']>[0]): void {
    if (!this.#closed) this.#perform(this.#core.step(event, this.#components.clock.nowMs()));
  }

  #perform(effects: readonly ForwardEffect<DnsClient>[]): void {
    for (const effect of effects)
      switch (effect.do) {
        case 'send':
          this.#send(effect);
          break;
        case 'close':
          this.#attempts.get(effect.attempt)?.close();
          this.#attempts.delete(effect.attempt);
          break;
        case 'reply':
          effect.client.reply(effect.packet, effect.query);
          break;
        case 'count-failure':
          this.#metrics.attemptFailures.add(1, {
            protocol: effect.protocol,
            upstream_address: upstreamText(effect.upstream),
            reason: effect.reason,
          });
          break;
        case 'count-request':
          if (effect.answered) this.#metrics.seconds.observe(effect.ms / 1000, { zone: effect.zone });
          else this.#metrics.failures.add(1, { zone: effect.zone });
          break;
      }
    if (this.#core.busy) this.#timer ??= this.#components.clock.after(TICK_MS, () => this.#tick());
  }

  #tick(): void {
    this.#timer = undefined;
    this.#step({ kind: 'tick' });
  }

  #send(effect: ForwardEffect<DnsClient> & { readonly do: 'send' }): void {
    const { attempt: id, upstream, protocol, packet } = effect;
    const startMs = this.#components.clock.nowMs();
    const events: AttemptEvents = {
      received: (bytes) => {
        const seconds = (this.#components.clock.nowMs() - startMs) / 1000;
        this.#metrics.attemptSeconds.observe(seconds, { protocol, upstream_address: upstreamText(upstream) });
        this.#step({ kind: 'received', attempt: id, packet: bytes });
      },
      failed: (reason) => this.#step({ kind: 'failed', attempt: id, reason }),
    };
    const close =
      protocol === 'udp' ? askByUdp(upstream, packet, events) : askByTcp(upstream, packet, events);
    this.#attempts.set(id, { upstream, startMs, close });
  }
}

interface AttemptEvents {
  received(bytes: Buffer): void;
  failed(reason: string): void;
}

/** Both return the way to give up. */
function askByUdp(upstream: Upstream, packet: Buffer, events: AttemptEvents): () => void {
  const { address, port } = upstream;
  const family = address.family;
  const socket: UdpSocket = createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    // It is an address already.
    lookup: (host, _options, done) => done(null, host, family),
  });
  socket.on('message', (bytes) => events.received(bytes));
  socket.on('error', (error) => events.failed(errorReason(error)));
  socket.connect(port, address.toString(), () => {
    if (!closed) socket.send(packet);
  });
  let closed = false;
  return () => {
    if (!closed) socket.close();
    closed = true;
  };
}

function askByTcp(upstream: Upstream, packet: Buffer, events: AttemptEvents): () => void {
  const socket: Socket = connect({ host: upstream.address.toString(), port: upstream.port, noDelay: true });
  const reader = new FrameReader();
  socket.on('connect', () => socket.write(frame(packet)));
  socket.on('data', (chunk) => {
    for (const bytes of reader.push(chunk)) events.received(bytes);
  });
  socket.on('error', (error) => events.failed(errorReason(error)));
  socket.on('end', () => events.failed('closed'));
  return () => socket.destroy();
}

function errorReason(error: Error): string {
  return ((error as NodeJS.ErrnoException).code ?? 'error').toLowerCase();
}

interface ForwardingMetrics {
  readonly failures: Counter;
  readonly seconds: Histogram;
  readonly attemptFailures: Counter;
  readonly attemptSeconds: Histogram;
}

/** Names as DC/OS has them (reference "VIPs and DNS", section 8). */
function forwardingMetrics(
  metrics: Metrics,
  cache: () => { readonly entries: number; readonly bytes: number },
): ForwardingMetrics {
  metrics.read('gauge', 'dns_cache_entries', 'Answers of upstreams that are kept', [], () => [
    [{}, cache().entries],
  ]);
  metrics.read('gauge', 'dns_cache_bytes', 'Their bytes', [], () => [[{}, cache().bytes]]);
  const worker = ['protocol', 'upstream_address'];
  return {
    failures: metrics.counter('dns_forwarder_failures_total', 'Forwarded queries without an answer', [
      'zone',
    ]),
    seconds: metrics.histogram('dns_forwarder_requests_duration_seconds', 'Time to an answer', ['zone']),
    attemptFailures: metrics.counter('dns_worker_failures_total', 'Questions to one upstream that failed', [
      ...worker,
      'reason',
    ]),
    attemptSeconds: metrics.histogram(
      'dns_worker_requests_duration_seconds',
      'Time to the answer of one upstream',
      worker,
    ),
  };
}
