/**
 * Streams of frames between nodes.
 *
 * Purpose: the record exchange sees peers, not sockets; the real transport is TCP (mutual TLS when the cluster has
 * certificates), the simulated one lives in memory.
 * Invariants: frames arrive whole and in order, or the connection closes; a frame is at most MAX_FRAME_BYTES; a queue
 * that would grow past its bound closes the connection instead.
 */
import type { NodeId } from '../model/names.ts';

export const MAX_FRAME_BYTES = 4 * 1024 * 1024;
/** Bytes queued for a slow peer before it is dropped; it repairs itself by digest when it comes back. */
export const MAX_QUEUED_BYTES = 16 * 1024 * 1024;

export interface PeerAddress {
  readonly host: string;
  readonly port: number;
}

export interface PeerConnection {
  /** The address it was dialled at, or came from. */
  readonly remote: PeerAddress;
  /** Who is there, as its certificate says; absent on a transport that asks for none. */
  readonly peer?: NodeId;
  /** Queues one frame. False, and the connection closes, when the queue is full. */
  send(frame: Uint8Array): boolean;
  /** Sends a datagram beside the stream, where there is a way: it may be lost, and wakes nobody at the other end. */
  sendAside(bytes: Uint8Array): void;
  /** Set once; called by the transport's `hear`. */
  onAside(listener: (bytes: Uint8Array, ageMs: number) => void): void;
  /** Set once, before the first turn of the event loop after the connection was handed over. */
  onFrame(listener: (frame: Uint8Array) => void): void;
  /** Called once, with the reason where there is one. */
  onClose(listener: (error: Error | undefined) => void): void;
  close(reason?: string): void;
}

/** Datagrams that wait until they are taken. */
export interface Mailbox {
  /** Everything that waits, oldest first; `bytes` are valid during the call only, `from` is to be kept as it is. */
  take(visit: (bytes: Buffer, from: () => Uint8Array, ageMs: number) => void): void;
  send(to: Uint8Array, bytes: Uint8Array): void;
  /** As `send` wants it; `undefined`: no datagram of this mailbox gets there. */
  addressOf(host: string, port: number): Uint8Array | undefined;
  close(): void;
}

export interface PeerListener {
  readonly address: PeerAddress;
  close(): Promise<void>;
}

export interface PeerTransport {
  listen(address: PeerAddress, onConnection: (connection: PeerConnection) => void): Promise<PeerListener>;
  /** Gives to the connections what has come beside their streams since the last call, oldest first. */
  hear(): void;
  /** Rejects when nobody answers within `timeoutMs`. */
  connect(
    address: PeerAddress,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<PeerConnection>;
}
