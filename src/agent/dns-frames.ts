/** DNS messages on a stream: two bytes of length before each (RFC 1035, 4.2.2). */

const LENGTH_BYTES = 2;

export function frame(packet: Uint8Array): Buffer {
  const framed = Buffer.alloc(LENGTH_BYTES + packet.length);
  framed.writeUInt16BE(packet.length, 0);
  framed.set(packet, LENGTH_BYTES);
  return framed;
}

/** Cuts a stream into messages; holds no more than one unfinished message. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;

  /** Bytes of a message that is not whole yet. */
  get pending(): number {
    return this.#size;
  }

  /** Messages that are whole with this chunk, at most `max`; the rest stays for the next call. */
  push(chunk: Buffer, max = Number.POSITIVE_INFINITY): readonly Buffer[] {
    if (chunk.length > 0) this.#chunks.push(chunk);
    this.#size += chunk.length;
    const messages: Buffer[] = [];
    // Joined only when something is whole: a message that comes byte by byte costs no more than its length.
    while (messages.length < max && this.#isWhole()) {
      const bytes = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
      const end = LENGTH_BYTES + bytes.readUInt16BE(0);
      messages.push(bytes.subarray(LENGTH_BYTES, end));
      const rest = bytes.subarray(end);
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#size = rest.length;
    }
    return messages;
  }

  #isWhole(): boolean {
    if (this.#size < LENGTH_BYTES) return false;
    const [first, second] = this.#chunks as [Buffer, Buffer?];
    const low = first.length > 1 ? first[1] : second?.[0];
    return this.#size >= LENGTH_BYTES + ((first[0] ?? 0) << 8) + (low ?? 0);
  }
}
