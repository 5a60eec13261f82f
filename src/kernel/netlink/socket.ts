/**
 * One netlink socket: requests with their answers, dumps that let the event loop breathe, and port ids.
 *
 * Purpose: every family that speaks netlink (NETLINK_ROUTE, NETLINK_NETFILTER) goes through this class.
 * Invariants: the kernel handles a request inside `send`, so all its answers wait in the socket when `send` returns
 * (af_netlink.c, netlink_unicast_kernel); nothing is left in the socket between two exchanges; one asynchronous
 * exchange at a time, and no synchronous one during it.
 * Review notes: a send holds the event loop for as long as the kernel works on it; keep sends near 8 KiB, or use
 * `exchangeAsync`. A socket belongs to the namespace it was opened in, whatever its user does later.
 */
import { assert } from '../../base/assert.ts';
import { errnoNumber, kernelError, kernelErrorOf } from '../errno.ts';
import * as libc from '../libc.ts';
import { Datagrams } from './datagrams.ts';
import { DumpParts } from './dump-parts.ts';
import {
  Attributes,
  forEachMessage,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_HEADER_BYTES,
  readString,
  type Message,
  type MessageWriter,
} from './message.ts';
import type { OwnPorts } from './own-ports.ts';

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const NLMSGERR_ATTR_MSG = 1;
/** A part of a dump is at most 32 KiB (af_netlink.c, netlink_recvmsg), one message at most 64 KiB. */
const RECEIVE_BYTES = 64 * 1024;
/** Answers never take this long; a lost one must not hold the process for ever. */
const RECEIVE_TIMEOUT_SECONDS = 5;
/** Room for the failure of every message of one send. */
const RECEIVE_QUEUE_BYTES = 8 * 1024 * 1024;
/** How long a dump of small parts may be read before it lets the event loop run. */
const HOLD_MS = 2;
/** A dump that something changed under (NLM_F_DUMP_INTR) is taken again, at most this often. */
const MAX_DUMP_ATTEMPTS = 10;

const EAGAIN = errnoNumber('EAGAIN');
const EINTR = errnoNumber('EINTR');

/** Receives the payload of one message; `message` is reused, copy what must last. */
export type MessageVisitor = (buffer: Buffer, message: Message) => void;

/** An acknowledgement (errno 0) or failure of the request with this sequence number. */
export interface Acknowledgement {
  readonly sequence: number;
  /** Positive errno, 0 = done. */
  readonly errno: number;
  /** The kernel's own sentence about a failure, where it has one. */
  readonly detail: string;
}

export interface NetlinkSocketInit {
  readonly protocol: number;
  /** Multicast groups to join (RTNLGRP_*, NFNLGRP_*). */
  readonly groups?: readonly number[];
  /** Bytes the kernel accepts in one send; its default is about 200 KiB. */
  readonly sendBytes?: number;
  /** Bytes that may wait in the socket; the kernel counts about 1 KiB for a small message. */
  readonly queueBytes?: number;
}

/** Where sockets receive. One serves many sockets of a thread: what is in it is decoded before anything else happens. */
export type ReceiveBuffer = Buffer;

export function receiveBuffer(): ReceiveBuffer {
  return Buffer.allocUnsafeSlow(RECEIVE_BYTES);
}

export class NetlinkSocket {
  readonly portId: number;
  readonly #fd: number;
  readonly #ports: OwnPorts | undefined;
  readonly #receive: Buffer;
  #errorAttributes: Attributes | undefined;
  #sequence = 0;
  #busy = false;
  #tail: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** Opens in the namespace of the calling thread. */
  constructor(
    components: { readonly ownPorts?: OwnPorts; readonly receive?: ReceiveBuffer },
    init: NetlinkSocketInit,
  ) {
    this.#receive = components.receive ?? receiveBuffer();
    const fd = libc.socket(libc.AF_NETLINK, libc.SOCK_RAW | libc.SOCK_CLOEXEC, init.protocol);
    if (fd < 0) throw kernelError(`open netlink socket of protocol ${init.protocol}`, -fd);
    this.#fd = fd;
    try {
      this.#configure(init);
      this.portId = this.#bind();
      // After binding, which replaces the groups by those in its address (af_netlink.c, netlink_bind).
      for (const group of init.groups ?? [])
        this.#option('NETLINK_ADD_MEMBERSHIP', libc.SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, int32(group));
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    this.#ports = components.ownPorts;
    this.#ports?.add(this.portId);
  }

  nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0 || 1;
    return this.#sequence;
  }

  /**
   * Sends what `writer` holds and collects every answer, all in this turn: failures always, acknowledgements of
   * messages with NLM_F_ACK; anything else goes to `visit`.
   */
  exchange(what: string, writer: MessageWriter, visit?: MessageVisitor): readonly Acknowledgement[] {
    assert(!this.#busy, 'no synchronous exchange during an asynchronous one');
    this.#sent(what, libc.send(this.#fd, writer.bytes, writer.length), writer);
    return this.#collect(what, visit);
  }

  /** The same with the sending off the main thread, for work that the kernel takes its time over. */
  exchangeAsync(
    what: string,
    writer: MessageWriter,
    visit?: MessageVisitor,
  ): Promise<readonly Acknowledgement[]> {
    return this.#exclusively(async () => {
      this.#sent(what, await libc.sendAsync(this.#fd, writer.bytes, writer.length), writer);
      return this.#collect(what, visit);
    });
  }

  /**
   * The same as several datagrams, each handled by itself: `ends` says where in `writer` each of them ends. One hand-over
   * to another thread for all of them.
   */
  exchangeEachAsync(
    what: string,
    writer: MessageWriter,
    ends: readonly number[],
  ): Promise<readonly Acknowledgement[]> {
    return this.#exclusively(async () => {
      for (let sent = 0; sent < ends.length;) {
        const datagrams = new Datagrams(writer.bytes, ends, sent);
        const result = await libc.sendmmsgAsync(this.#fd, datagrams.headers, datagrams.count);
        if (result <= 0) throw kernelError(what, -result);
        assert(datagrams.areWhole(result), 'a netlink send is whole or not at all');
        sent += result;
      }
      return this.#collect(what, undefined);
    });
  }

  /**
   * Performs one dump: `encode` writes the request with the sequence number given, `decode` makes a value of each
   * message (`undefined` = leave it out). Taken again when the kernel says that it changed meanwhile.
   */
  dump<T>(
    what: string,
    encode: (writer: MessageWriter, sequence: number) => void,
    decode: (buffer: Buffer, message: Message) => T | undefined,
    writer: MessageWriter,
  ): Promise<T[]> {
    return this.#exclusively(async () => {
      for (let attempt = 0; attempt < MAX_DUMP_ATTEMPTS; attempt++) {
        const values: T[] = [];
        const visit: MessageVisitor = (buffer, message) => {
          const value = decode(buffer, message);
          if (value !== undefined) values.push(value);
        };
        writer.reset();
        const sequence = this.nextSequence();
        encode(writer, sequence);
        this.#sent(what, libc.send(this.#fd, writer.bytes, writer.length), writer);
        if (await this.#readDump(what, sequence, visit)) return values;
      }
      throw kernelErrorOf(`${what} (changed while being read, ${MAX_DUMP_ATTEMPTS} times)`, 'EAGAIN');
    });
  }

  /** A dump that is known to be short, all of it in this turn. */
  dumpNow<T>(
    what: string,
    encode: (writer: MessageWriter, sequence: number) => void,
    decode: (buffer: Buffer, message: Message) => T | undefined,
    writer: MessageWriter,
  ): readonly T[] {
    for (let attempt = 0; attempt < MAX_DUMP_ATTEMPTS; attempt++) {
      const values: T[] = [];
      let interrupted = false;
      writer.reset();
      encode(writer, this.nextSequence());
      const answers = this.exchange(what, writer, (buffer, message) => {
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
        const value = decode(buffer, message);
        if (value !== undefined) values.push(value);
      });
      const failure = answers.find(({ errno }) => errno !== 0);
      if (failure !== undefined) throw kernelError(what, failure.errno, failure.detail);
      if (!interrupted) return values;
    }
    throw kernelErrorOf(`${what} (changed while being read, ${MAX_DUMP_ATTEMPTS} times)`, 'EAGAIN');
  }

  /**
   * Reads one datagram of notifications without waiting: false when there is none. Throws a KernelError ENOBUFS when
   * the kernel had to drop some.
   */
  poll(what: string, visit: MessageVisitor): boolean {
    const length = this.#poll(what);
    if (length === 0) return false;
    forEachMessage(this.#receive, length, (message) => {
      visit(this.#receive, message);
      return true;
    });
    return true;
  }

  /** Lets only those notifications in that a classic BPF program lets pass. */
  filter(instructions: Uint8Array): void {
    if (this.#closed) return;
    const result = libc.attachFilter(this.#fd, instructions);
    if (result < 0) throw kernelError('filter the notifications of a netlink socket', -result);
  }

  /** Calls back once, when something has come. The watch ends before the socket does. */
  onceReadable(onReadable: () => void): libc.Watch {
    return libc.onceReadable(this.#fd, onReadable);
  }

  /** Index of a link in this socket's namespace, negative errno when there is none: 3 us, a netlink request 100. */
  interfaceIndex(name: string): number {
    return libc.interfaceIndex(this.#fd, name);
  }

  /** Name of a link in this socket's namespace: as cheap. */
  interfaceName(index: number): string | undefined {
    return libc.interfaceName(this.#fd, index);
  }

  /** Generic receive offload of a link in this socket's namespace: 1, 0, or a negative errno. */
  receiveOffload(name: string): number {
    return libc.receiveOffload(this.#fd, name);
  }

  setReceiveOffload(name: string, on: boolean): number {
    return libc.setReceiveOffload(this.#fd, name, on);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ports?.delete(this.portId);
    // A thread may still be inside a call on this socket: the number must not be given away before it is back.
    if (this.#busy) void this.#tail.then(() => libc.close(this.#fd));
    else libc.close(this.#fd);
  }

  /** Length of the datagram received, 0 = none. */
  #poll(what: string): number {
    if (this.#closed) return 0;
    const length = libc.recv(this.#fd, this.#receive, libc.MSG_DONTWAIT | libc.MSG_TRUNC);
    if (length === -EAGAIN || length === -EINTR) return 0;
    if (length < 0) throw kernelError(what, -length);
    return Math.min(length, this.#receive.length);
  }

  #configure(init: NetlinkSocketInit): void {
    this.#option('SO_RCVTIMEO', libc.SOL_SOCKET, libc.SO_RCVTIMEO, RECEIVE_TIMEOUT);
    const receive = init.queueBytes === undefined ? RECEIVE_QUEUE : int32(init.queueBytes);
    this.#option('SO_RCVBUFFORCE', libc.SOL_SOCKET, libc.SO_RCVBUFFORCE, receive);
    if (init.sendBytes !== undefined)
      this.#option('SO_SNDBUFFORCE', libc.SOL_SOCKET, libc.SO_SNDBUFFORCE, int32(init.sendBytes));
    this.#option('NETLINK_CAP_ACK', libc.SOL_NETLINK, NETLINK_CAP_ACK, ON);
    this.#option('NETLINK_EXT_ACK', libc.SOL_NETLINK, NETLINK_EXT_ACK, ON);
    this.#option('NETLINK_GET_STRICT_CHK', libc.SOL_NETLINK, NETLINK_GET_STRICT_CHK, ON);
  }

  #option(name: string, level: number, option: number, value: Buffer): void {
    const result = libc.setsockopt(this.#fd, level, option, value);
    if (result < 0) throw kernelError(`set ${name} on a netlink socket`, -result);
  }

  /** struct sockaddr_nl with port 0: the kernel chooses, we ask which. */
  #bind(): number {
    const address = Buffer.alloc(12);
    address.writeUInt16LE(libc.AF_NETLINK, 0);
    const bound = libc.bind(this.#fd, address);
    if (bound < 0) throw kernelError('bind netlink socket', -bound);
    const named = libc.getsockname(this.#fd, address);
    if (named < 0) throw kernelError('read the port of a netlink socket', -named);
    return address.readUInt32LE(4);
  }

  #sent(what: string, result: number, writer: MessageWriter): void {
    if (result < 0) throw kernelError(what, -result);
    assert(result === writer.length, 'a netlink send is whole or not at all');
  }

  /** Empties the socket. */
  #collect(what: string, visit: MessageVisitor | undefined): Acknowledgement[] {
    const acknowledgements: Acknowledgement[] = [];
    const each: MessageVisitor = (buffer, message) => {
      if (message.type === NLMSG_ERROR) acknowledgements.push(this.#acknowledgement(buffer, message));
      else if (message.type !== NLMSG_DONE) visit?.(buffer, message);
    };
    while (this.poll(what, each));
    return acknowledgements;
  }

  /**
   * Reads until NLMSG_DONE, also when `visit` throws, as the kernel begins no other dump before (EBUSY); false when the
   * dump was interrupted and must be taken again.
   */
  async #readDump(what: string, sequence: number, visit: MessageVisitor): Promise<boolean> {
    const parts = new DumpParts(this.#fd, this.#receive);
    let state: 'more' | 'done' = 'more';
    let interrupted = false;
    let failure: Acknowledgement | undefined;
    let thrown: { readonly error: unknown } | undefined;
    const visitNext = (message: Message): void => {
      try {
        if (thrown === undefined) visit(parts.buffer, message);
      } catch (error) {
        thrown = { error };
      }
    };
    const each = (message: Message): boolean => {
      if (message.sequence !== sequence) return true;
      if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
      if (message.type === NLMSG_DONE) state = 'done';
      else if (message.type === NLMSG_ERROR) {
        state = 'done';
        failure = this.#acknowledgement(parts.buffer, message);
      } else visitNext(message);
      return state !== 'done';
    };
    try {
      for (let since = performance.now(); state === 'more';) {
        const hasTurned = parts.isComing;
        const received = parts.next();
        const length = typeof received === 'number' ? received : await received;
        if (hasTurned) since = performance.now();
        if (length <= 0) throw kernelError(what, -length);
        forEachMessage(parts.buffer, length, each);
        if (parts.isComing || performance.now() - since <= HOLD_MS) continue;
        await nextTurn();
        since = performance.now();
      }
    } finally {
      await parts.close();
    }
    if (thrown !== undefined) throw thrown.error;
    const { errno, detail } = failure ?? { errno: 0, detail: '' };
    if (errno !== 0) throw kernelError(what, errno, detail);
    return !interrupted;
  }

  /** struct nlmsgerr: errno, then the request's header (its body too unless capped), then attributes. */
  #acknowledgement(buffer: Buffer, message: Message): Acknowledgement {
    if (message.end - message.start < 4) return { sequence: message.sequence, errno: 0, detail: '' };
    const errno = -buffer.readInt32LE(message.start);
    return { sequence: message.sequence, errno, detail: this.#detail(buffer, message) };
  }

  #detail(buffer: Buffer, message: Message): string {
    const header = message.start + 4;
    if ((message.flags & NLM_F_ACK_TLVS) === 0 || header + NLMSG_HEADER_BYTES > message.end) return '';
    const capped = (message.flags & NLM_F_CAPPED) !== 0;
    const skip = capped ? NLMSG_HEADER_BYTES : (buffer.readUInt32LE(header) + 3) & ~3;
    const attributes = (this.#errorAttributes ??= new Attributes());
    const text = attributes.parse(buffer, header + skip, message.end).range(NLMSGERR_ATTR_MSG);
    return text === undefined ? '' : readString(buffer, text.start, text.end);
  }

  /** Asynchronous exchanges wait for one another. */
  #exclusively<T>(task: () => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      if (this.#closed) throw kernelErrorOf('use a closed netlink socket', 'EINVAL');
      this.#busy = true;
      try {
        return await task();
      } finally {
        this.#busy = false;
      }
    };
    const result = this.#tail.then(run);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

/** Values of options as each socket gets them. */
const ON = int32(1);
const RECEIVE_QUEUE = int32(RECEIVE_QUEUE_BYTES);
/** struct timeval. */
const RECEIVE_TIMEOUT = Buffer.alloc(16);
RECEIVE_TIMEOUT.writeBigInt64LE(BigInt(RECEIVE_TIMEOUT_SECONDS), 0);

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

/** Lets timers and I/O run. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
