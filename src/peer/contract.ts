/** What every peer transport must do; run on the real one and on its twin. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_FRAME_BYTES, MAX_QUEUED_BYTES } from './types.ts';
import type { PeerConnection, PeerListener, PeerTransport } from './types.ts';

const text = (frame: Uint8Array): string => Buffer.from(frame).toString();
const timeoutMs = 2_000;

interface End {
  readonly connection: PeerConnection;
  readonly frames: Uint8Array[];
  /** One entry per call of the close listener. */
  readonly closes: (Error | undefined)[];
}

function watch(connection: PeerConnection): End {
  const end: End = { connection, frames: [], closes: [] };
  connection.onFrame((frame) => end.frames.push(Uint8Array.from(frame)));
  connection.onClose((error) => end.closes.push(error));
  return end;
}

/** `setup` gives a transport that can reach itself at `host`; `isDeaf`: nothing is said beside its streams. */
export function peerTransportContract(
  name: string,
  setup: () => { readonly transport: PeerTransport; readonly host: string; readonly isDeaf?: boolean },
): void {
  describe(`${name} keeps the contract of peer transports`, () => {
    let transport: PeerTransport;
    let listener: PeerListener;
    let accepted: End[];
    let isDeaf: boolean;
    beforeEach(async () => {
      const made = setup();
      const { host } = made;
      transport = made.transport;
      isDeaf = made.isDeaf === true;
      accepted = [];
      listener = await transport.listen({ host, port: 0 }, (connection) => accepted.push(watch(connection)));
    });
    afterEach(() => listener.close());

    async function pair(): Promise<[dialled: End, accepted: End]> {
      const dialled = watch(await transport.connect(listener.address, { timeoutMs }));
      await expect.poll(() => accepted.length).toBeGreaterThan(0);
      return [dialled, accepted.at(-1) as End];
    }

    it('frames arrive whole, in order and both ways, empty and largest ones too', async () => {
      const [left, right] = await pair();
      const sizes = [0, 1, 5, 65_536, MAX_FRAME_BYTES, 3];
      for (const [i, size] of sizes.entries())
        expect(left.connection.send(new Uint8Array(size).fill(i))).toBe(true);
      right.connection.send(Buffer.from('back'));
      await expect.poll(() => right.frames.length).toBe(sizes.length);
      expect(right.frames.map((frame) => frame.length)).toEqual(sizes);
      expect(right.frames[4]?.every((byte) => byte === 4)).toBe(true);
      await expect.poll(() => left.frames.map(text)).toEqual(['back']);
    });

    it('what was sent before closing arrives, then both ends are told once', async () => {
      const [left, right] = await pair();
      for (let i = 0; i < 20; i++) left.connection.send(Buffer.from(String(i)));
      left.connection.close();
      left.connection.close();
      await expect.poll(() => [left.closes.length, right.closes.length]).toEqual([1, 1]);
      expect(right.frames).toHaveLength(20);
      expect(left.connection.send(Buffer.from('late'))).toBe(false);
      expect(right.connection.send(Buffer.from('late'))).toBe(false);
    });

    it('what is said beside the streams waits until it is asked for', async () => {
      const [left, right] = await pair();
      const heard: string[] = [];
      left.connection.onAside((bytes) => heard.push(`left ${text(bytes)}`));
      right.connection.onAside((bytes) => heard.push(`right ${text(bytes)}`));
      // The end that was dialled learns by the first word where to answer.
      await expect
        .poll(() => {
          left.connection.sendAside(Buffer.from('there'));
          transport.hear();
          return heard.length > 0;
        })
        .toBe(!isDeaf);
      right.connection.sendAside(Buffer.from('back'));
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(heard).not.toContain('left back');
      await expect
        .poll(() => {
          transport.hear();
          return heard.includes('left back');
        })
        .toBe(!isDeaf);
      right.connection.close();
      await expect.poll(() => left.closes.length).toBe(1);
      heard.length = 0;
      left.connection.sendAside(Buffer.from('late'));
      transport.hear();
      expect(heard).toEqual([]);
    });

    it('closing gives the reason to the own listener', async () => {
      const [left] = await pair();
      left.connection.close('not needed');
      await expect.poll(() => left.closes.map((error) => error?.message)).toEqual(['not needed']);
    });

    it('a frame that is too large closes the connection', async () => {
      const [left, right] = await pair();
      expect(left.connection.send(new Uint8Array(MAX_FRAME_BYTES + 1))).toBe(false);
      await expect.poll(() => [left.closes.length, right.closes.length]).toEqual([1, 1]);
      expect(right.frames).toEqual([]);
    });

    it('a queue that would grow past its bound closes the connection', async () => {
      const [left] = await pair();
      const frame = new Uint8Array(MAX_FRAME_BYTES);
      let sent = 0;
      // Nothing is read while this turn of the event loop lasts; kernel buffers take the rest of the allowance.
      while (sent <= 3 * MAX_QUEUED_BYTES && left.connection.send(frame)) sent += frame.length;
      expect(sent).toBeGreaterThan(0);
      expect(sent).toBeLessThan(3 * MAX_QUEUED_BYTES);
      await expect.poll(() => left.closes.length).toBe(1);
    });

    it('closing the listener closes what it accepted and refuses new ones', async () => {
      const [left] = await pair();
      await listener.close();
      await expect.poll(() => left.closes.length).toBe(1);
      await expect(transport.connect(listener.address, { timeoutMs })).rejects.toMatchObject({
        code: 'unavailable',
      });
    });

    it('an address in use is a conflict', async () => {
      await expect(transport.listen(listener.address, () => undefined)).rejects.toMatchObject({
        code: 'conflict',
      });
    });

    it('connecting can be given up', async () => {
      const given = AbortSignal.abort();
      await expect(transport.connect(listener.address, { timeoutMs, signal: given })).rejects.toMatchObject({
        code: 'unavailable',
      });
    });
  });
}
