/** Frames on a byte stream: a length of four bytes, network order, then that many bytes. */
import { MAX_FRAME_BYTES } from './types.ts';

const LENGTH_BYTES = 4;

/** Thrown by `FrameReader.push`: the stream is not one of frames and cannot be followed any further. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

export function encodeLength(frame: Uint8Array): Buffer {
  const prefix = Buffer.allocUnsafe(LENGTH_BYTES);
  prefix.writeUInt32BE(frame.length);
  return prefix;
}

/** Length and frame in one piece: for small frames, where copying costs less than a second piece. */
export function encodeWhole(frame: Uint8Array): Buffer {
  const whole = Buffer.allocUnsafe(LENGTH_BYTES + frame.length);
  whole.writeUInt32BE(frame.length);
  whole.set(frame, LENGTH_BYTES);
  return whole;
}

/** Cuts a stream into frames; holds at most one unfinished frame and what came in one read. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Length of the frame under way, once its four bytes are here. */
  #wanted: number | undefined;

  /** The frames that `chunk` completes. */
  push(chunk: Buffer): Buffer[] {
    if (isOneFrame(chunk) && this.#bytes === 0 && this.#wanted === undefined)
      return [chunk.subarray(LENGTH_BYTES)];
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const frames: Buffer[] = [];
    for (;;) {
      this.#wanted ??= this.#readLength();
      if (this.#wanted === undefined || this.#bytes < this.#wanted) return frames;
      frames.push(this.#take(this.#wanted));
      this.#wanted = undefined;
    }
  }

  #readLength(): number | undefined {
    if (this.#bytes < LENGTH_BYTES) return undefined;
    const length = this.#take(LENGTH_BYTES).readUInt32BE();
    if (length > MAX_FRAME_BYTES)
      throw new FrameError(`a frame of ${length} bytes, at most ${MAX_FRAME_BYTES} are allowed`);
    return length;
  }

  #take(count: number): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0] : undefined;
    const joined = all ?? Buffer.concat(this.#chunks);
    this.#chunks = joined.length > count ? [joined.subarray(count)] : [];
    this.#bytes -= count;
    return joined.subarray(0, count);
  }
}

/** As most reads are. */
function isOneFrame(chunk: Buffer): boolean {
  return chunk.length > LENGTH_BYTES && chunk.readUInt32BE() === chunk.length - LENGTH_BYTES;
}
