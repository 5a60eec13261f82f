/** What a walk gathers: the hops so far, and the packet as it is now. */
import { ip, type IpAddress } from '../base/ip.ts';
import type { TraceHop, TraceLeg, TracePacket } from '../model/trace.ts';

/** `stop` and `end` give the whole leg. */
export class Way {
  readonly hops: TraceHop[] = [];
  packet: TracePacket;
  readonly #host: string;

  constructor(host: string, packet: TracePacket) {
    this.#host = host;
    this.packet = packet;
  }

  pass(at: TraceHop['at'], what: string): void {
    this.hops.push({ host: this.#host, at, ok: true, what });
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
