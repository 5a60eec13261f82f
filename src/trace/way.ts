/** What a walk gathers: the hops so far, and the packet as it is now. */
import { ip, type IpAddress } from '../base/ip.ts';
import type { TraceHop, TraceLeg, TraceLegRequest, TracePacket } from '../model/trace.ts';

/** `stop` and `end` give the whole leg. */
export class Way {
  readonly hops: TraceHop[] = [];
  packet: TracePacket;
  readonly isAnswer: boolean;
  /** Where it has come in; empty = it starts at the host itself. */
  iif = '';
  /** True = it only crosses the bridge that it came in by, past the host's routing. */
  bridged = false;
  /** True = its destination is another one than it was sent to. */
  translated = false;
  /** `undefined` = a rule has set it to what cannot be told. */
  mark: number | undefined = 0;
  readonly #host: string;

  constructor(host: string, { packet, answer }: Pick<TraceLegRequest, 'packet' | 'answer'>) {
    this.#host = host;
    this.packet = packet;
    this.isAnswer = answer;
  }

  pass(at: TraceHop['at'], what: string): void {
    this.hops.push({ host: this.#host, at, ok: true, what });
  }

  /** It goes on, but something may end it here. */
  doubt(at: TraceHop['at'], what: string, doubts: readonly string[]): void {
    this.hops.push({ host: this.#host, at, ok: true, what, doubts: [...doubts] });
  }

  translate({ address, port }: { readonly address?: string; readonly port?: number }): void {
    this.translated = true;
    this.packet = {
      ...this.packet,
      ...(address === undefined ? {} : { destination: address }),
      ...(port === undefined ? {} : { port }),
    };
  }

  stop(at: TraceHop['at'], what: string, reason: string, remedy?: string): TraceLeg {
    const why = remedy === undefined ? { reason } : { reason, remedy };
    this.hops.push({ host: this.#host, at, ok: false, what, ...why });
    return this.end({ kind: 'stopped' });
  }

  end(end: TraceLeg['end']): TraceLeg {
    return { hops: this.hops, packet: this.packet, end };
  }

  get source(): IpAddress {
    return ip(this.packet.source);
  }

  get destination(): IpAddress {
    return ip(this.packet.destination);
  }
}
