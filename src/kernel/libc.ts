/**
 * The few system calls that Node does not offer: sockets of AF_NETLINK, datagrams by the batch, and
 * network namespaces.
 *
 * Purpose: the only module that knows the foreign-function library.
 * Invariants: every function answers as the kernel does, a negative errno on failure, and never throws for one; a
 * call without `Async` in its name runs on the calling thread and holds the event loop for as long as it takes.
 * Review notes: a call that can wait (removing a device waits about 20 ms for RCU) must use the Async form; `setns`
 * moves the calling thread only, therefore whoever calls it moves back in the same turn (netns.ts).
 */
import koffi from 'koffi';

export const AF_NETLINK = 16;
export const SOCK_RAW = 3;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_RCVTIMEO = 20;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SO_TIMESTAMPNS = 35;
const SO_ATTACH_FILTER = 26;
export const SOL_NETLINK = 270;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const CLONE_NEWNET = 0x4000_0000;

/** One call that moves bytes, done on a thread of the library's pool. */
type AsyncTransfer = (
  fd: number,
  bytes: Uint8Array,
  length: number,
  flags: number,
  done: (error: unknown, result: number) => void,
) => void;
type Transfer = ((fd: number, bytes: Uint8Array, length: number, flags: number) => number) & {
  readonly async: AsyncTransfer;
};

const library = koffi.load('libc.so.6');
/** struct sock_fprog, include/uapi/linux/filter.h; without a name, since names are given once per process. */
const filterProgram = koffi.struct({ len: 'uint16_t', filter: 'void *' });
const FILTER_PROGRAM_BYTES = 16;
/** struct sock_filter. */
const FILTER_INSTRUCTION_BYTES = 8;
/** struct ifreq with a pointer in it, include/uapi/linux/if.h, filled up to its length of 40 bytes. */
const pointingRequest = koffi.struct({
  name: koffi.array('uint8_t', 16),
  data: 'void *',
  rest: koffi.array('uint8_t', 16),
});
const native = {
  socket: library.func('int socket(int, int, int)') as (
    family: number,
    type: number,
    protocol: number,
  ) => number,
  bind: library.func('int bind(int, const void *, uint32_t)') as (
    fd: number,
    address: Uint8Array,
    length: number,
  ) => number,
  getsockname: library.func('int getsockname(int, void *, void *)') as (
    fd: number,
    address: Uint8Array,
    length: Uint8Array,
  ) => number,
  setsockopt: library.func('int setsockopt(int, int, int, const void *, uint32_t)') as (
    fd: number,
    level: number,
    option: number,
    value: Uint8Array,
    length: number,
  ) => number,
  attachFilter: library.func('setsockopt', 'int', [
    'int',
    'int',
    'int',
    koffi.pointer(filterProgram),
    'uint32_t',
  ]) as (
    fd: number,
    level: number,
    option: number,
    program: { readonly len: number; readonly filter: Uint8Array },
    length: number,
  ) => number,
  send: library.func('int64_t send(int, const void *, size_t, int)') as unknown as Transfer,
  recv: library.func('int64_t recv(int, void *, size_t, int)') as unknown as Transfer,
  poll: library.func('int poll(void *, unsigned long, int)') as (
    entries: Uint8Array,
    count: number,
    timeoutMs: number,
  ) => number,
  setns: library.func('int setns(int, int)') as (fd: number, type: number) => number,
  ioctl: library.func('int ioctl(int, unsigned long)') as (fd: number, request: number) => number,
  ioctlWith: library.func('int ioctl(int, unsigned long, void *)') as (
    fd: number,
    request: number,
    argument: Uint8Array,
  ) => number,
  ioctlPointing: library.func('ioctl', 'int', ['int', 'unsigned long', koffi.pointer(pointingRequest)]) as (
    fd: number,
    request: number,
    argument: { readonly name: Uint8Array; readonly data: Uint8Array; readonly rest: Uint8Array },
  ) => number,
  close: library.func('int close(int)') as (fd: number) => number,
  syscall: library.func('long syscall(long, int, void *, uint32_t)') as (
    number: number,
    command: number,
    attributes: Uint8Array,
    length: number,
  ) => number,
  recvmmsg: library.func('int recvmmsg(int, void *, unsigned int, int, void *)') as (
    fd: number,
    headers: Uint8Array,
    count: number,
    flags: number,
    timeout: null,
  ) => number,
  sendmmsg: library.func('int sendmmsg(int, void *, unsigned int, int)') as unknown as Transfer,
  memcpy: library.func('void *memcpy(void *, const void *, size_t)') as (
    to: Uint8Array,
    from: Uint8Array,
    length: number,
  ) => unknown,
};

/** The C library's -1 becomes the kernel's own negative errno. */
function answer(result: number): number {
  return result < 0 ? -koffi.errno() : result;
}

export function socket(family: number, type: number, protocol: number): number {
  return answer(native.socket(family, type, protocol));
}

export function bind(fd: number, address: Uint8Array): number {
  return answer(native.bind(fd, address, address.length));
}

/** Fills `address`; answers the number of bytes the kernel wrote. */
export function getsockname(fd: number, address: Uint8Array): number {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(address.length);
  const result = answer(native.getsockname(fd, address, length));
  return result < 0 ? result : length.readUInt32LE(0);
}

export function setsockopt(fd: number, level: number, option: number, value: Uint8Array): number {
  return answer(native.setsockopt(fd, level, option, value, value.length));
}

/** Puts a classic BPF program before the socket, in place of any other: what it does not let pass is never queued. */
export function attachFilter(fd: number, instructions: Uint8Array): number {
  const program = { len: instructions.length / FILTER_INSTRUCTION_BYTES, filter: instructions };
  return answer(native.attachFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, FILTER_PROGRAM_BYTES));
}

/** Sends the first `length` bytes. */
export function send(fd: number, bytes: Uint8Array, length: number, flags = 0): number {
  return answer(native.send(fd, bytes, length, flags));
}

/** Receives into `bytes`; with MSG_TRUNC the answer is the true length even when it is longer than `bytes`. */
export function recv(fd: number, bytes: Uint8Array, flags = 0): number {
  return answer(native.recv(fd, bytes, bytes.length, flags));
}

/** `send` off the main thread. `bytes` must not be touched until the promise settles. */
export function sendAsync(fd: number, bytes: Uint8Array, length: number, flags = 0): Promise<number> {
  return transferAsync(native.send.async, fd, bytes, length, flags);
}

/** `recv` off the main thread. Give the socket SO_RCVTIMEO: a waiting call keeps the process from ending. */
export function recvAsync(fd: number, bytes: Uint8Array, flags = 0): Promise<number> {
  return transferAsync(native.recv.async, fd, bytes, bytes.length, flags);
}

function transferAsync(
  transfer: AsyncTransfer,
  fd: number,
  bytes: Uint8Array,
  length: number,
  flags: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    transfer(fd, bytes, length, flags, (error, result) => {
      if (error instanceof Error) reject(error);
      else resolve(answer(result));
    });
  });
}

const POLLIN = 1;

/** True when `fd` has something to receive within `timeoutMs` (0 = just look). */
export function readable(fd: number, timeoutMs: number): boolean {
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(fd, 0);
  entry.writeInt16LE(POLLIN, 4);
  return native.poll(entry, 1, timeoutMs) > 0;
}

/** Ends with `close`, which must come before `fd` is closed and may come again. */
export interface Watch {
  close(): void;
  /** The process may end meanwhile. */
  unref(): void;
}

/**
 * Calls `onReadable` from the event loop as often as the socket `fd`, which waits no more, has something to receive.
 *
 * The call is none of Node's own: promises that it settles go on when Node calls something next, which `setImmediate`
 * makes it do at once.
 */
export function watchReadable(fd: number, onReadable: () => void): Watch {
  let isClosed = false;
  const onPoll = (...[status]: readonly unknown[]): void => {
    try {
      onReadable();
    } catch (error) {
      // Nobody is above to catch it: it ends the process as any other would.
      setImmediate(() => {
        throw error;
      });
    }
    // The event loop stops watching a socket that has an error; by now it has been read off.
    if (status !== 0 && !isClosed) handle.start(onPoll);
  };
  const handle = koffi.node.poll(fd, onPoll);
  return {
    close: () => {
      if (!isClosed) handle.close();
      isClosed = true;
    },
    unref: () => handle.unref(),
  };
}

/** Calls back once, in a turn of its own. Does not keep the process alive. */
export function onceReadable(fd: number, onReadable: () => void): Watch {
  const watch = watchReadable(fd, () => {
    watch.close();
    setImmediate(onReadable);
  });
  watch.unref();
  return watch;
}

/** Moves the calling thread into the namespace behind `fd`. */
export function setns(fd: number, type: number): number {
  return answer(native.setns(fd, type));
}

/** An ioctl without argument. */
export function ioctl(fd: number, request: number): number {
  return answer(native.ioctl(fd, request));
}

/** IFNAMSIZ with its terminating zero, and sizeof(struct ifreq), include/uapi/linux/if.h. */
const NAME_BYTES = 16;
const IFREQ_BYTES = 40;
/** include/uapi/linux/sockios.h. */
const SIOCGIFNAME = 0x8910;
const SIOCGIFINDEX = 0x8933;
const SIOCETHTOOL = 0x8946;

/** For the calls of one turn each, of which a container takes several. */
const ifreq = Buffer.alloc(IFREQ_BYTES);

/** The index of a link, by any of its names, in the namespace of the socket. */
export function interfaceIndex(fd: number, name: string): number {
  ifreq.fill(0, ifreq.write(name, 0, NAME_BYTES - 1));
  const result = answer(native.ioctlWith(fd, SIOCGIFINDEX, ifreq));
  return result < 0 ? result : ifreq.readInt32LE(NAME_BYTES);
}

/** The name of a link by its index, in the namespace of the socket; `undefined` when there is none. */
export function interfaceName(fd: number, index: number): string | undefined {
  ifreq.writeInt32LE(index, NAME_BYTES);
  if (answer(native.ioctlWith(fd, SIOCGIFNAME, ifreq)) < 0) return undefined;
  return ifreq.toString('utf8', 0, ifreq.indexOf(0));
}

/** include/uapi/linux/ethtool.h. */
const ETHTOOL_GGRO = 0x2b;
const ETHTOOL_SGRO = 0x2c;

/** Generic receive offload of a link in the namespace of the socket: 1 = on, 0 = off. */
export function receiveOffload(fd: number, name: string): number {
  const value = ethtoolValue(ETHTOOL_GGRO, 0);
  const result = ethtool(fd, name, value);
  return result < 0 ? result : value.readUInt32LE(4);
}

export function setReceiveOffload(fd: number, name: string, on: boolean): number {
  return ethtool(fd, name, ethtoolValue(ETHTOOL_SGRO, on ? 1 : 0));
}

/** struct ethtool_value. */
function ethtoolValue(command: number, data: number): Buffer {
  const value = Buffer.alloc(8);
  value.writeUInt32LE(command, 0);
  value.writeUInt32LE(data, 4);
  return value;
}

function ethtool(fd: number, name: string, value: Buffer): number {
  const padded = Buffer.alloc(NAME_BYTES);
  padded.write(name, 0, NAME_BYTES - 1);
  const request = { name: padded, data: value, rest: Buffer.alloc(IFREQ_BYTES - NAME_BYTES - 8) };
  return answer(native.ioctlPointing(fd, SIOCETHTOOL, request));
}

/** Receives up to `count` datagrams into what the headers (struct mmsghdr) point to. */
export function recvmmsg(fd: number, headers: Uint8Array, count: number, flags: number): number {
  return answer(native.recvmmsg(fd, headers, count, flags, null));
}

/** Sends the first `count` datagrams; answers how many went. */
export function sendmmsg(fd: number, headers: Uint8Array, count: number, flags: number): number {
  return answer(native.sendmmsg(fd, headers, count, flags));
}

/** `sendmmsg` off the main thread. Headers, and what they point to, must not be touched until the promise settles. */
export function sendmmsgAsync(fd: number, headers: Uint8Array, count: number, flags = 0): Promise<number> {
  return transferAsync(native.sendmmsg.async, fd, headers, count, flags);
}

/** __NR_bpf by machine; others have none here. */
const BPF_CALLS: Partial<Record<NodeJS.Architecture, number>> = { x64: 321, arm64: 280 };
const ENOSYS = 38;

/** bpf(2), with a `union bpf_attr` as long as what is used of it or longer. */
export function bpf(command: number, attributes: Uint8Array): number {
  const number = BPF_CALLS[process.arch];
  return number === undefined
    ? -ENOSYS
    : answer(native.syscall(number, command, attributes, attributes.length));
}

/** Where the bytes are in memory, for structures that point to others. They must be kept as long as those are used. */
export function addressOf(bytes: Uint8Array): bigint {
  // koffi tells the address of a pointer that it was given; copying nothing gives it one.
  return koffi.address(native.memcpy(bytes, bytes, 0));
}

export function close(fd: number): number {
  return answer(native.close(fd));
}
