/**
 * Answers of upstreams, kept as long as they say, those that say "there is none" included (RFC 2308).
 *
 * Invariants: bounded in number and in bytes; what has not been asked for longest goes first.
 */
import { HEADER_BYTES } from './constants.ts';
import type { Response } from './response.ts';

interface Kept {
  readonly packet: Buffer;
  readonly response: Response;
  readonly storedMs: number;
}

export interface CacheInit {
  readonly entriesMax: number;
  readonly bytesMax: number;
}

const ANSWER_BYTES_MAX = 16 * 1024;

export class AnswerCache {
  readonly #init: CacheInit;
  /** In the order of last use. */
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  constructor(init: CacheInit) {
    this.#init = init;
  }

  get size(): number {
    return this.#kept.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  put(key: string, packet: Buffer, response: Response, nowMs: number): void {
    this.#drop(key);
    if (response.ttl === 0 || response.truncated || packet.length > ANSWER_BYTES_MAX) return;
    this.#kept.set(key, { packet, response, storedMs: nowMs });
    this.#bytes += packet.length;
    while (this.#kept.size > this.#init.entriesMax || this.#bytes > this.#init.bytesMax)
      this.#drop(this.#kept.keys().next().value as string);
  }

  /** A copy of the answer whose times to live have counted down. */
  get(key: string, nowMs: number): Buffer | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    const age = Math.floor((nowMs - kept.storedMs) / 1000);
    if (age >= kept.response.ttl) {
      this.#drop(key);
      return undefined;
    }
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    const copy = Buffer.from(kept.packet);
    for (const at of kept.response.ttlOffsets)
      copy.writeUInt32BE(Math.max(copy.readUInt32BE(at) - age, 0), at);
    return copy;
  }

  #drop(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    this.#kept.delete(key);
    this.#bytes -= kept.packet.length;
  }
}

/** An upstream's answer made one to this client's question: its id, and its name as the client wrote it. */
export function addressTo(head: Buffer, answer: Buffer): Buffer {
  head.copy(answer, 0, 0, 2);
  head.copy(answer, HEADER_BYTES, HEADER_BYTES, head.length);
  return answer;
}
