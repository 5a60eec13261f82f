/**
 * Sockets bound to an address that may not be there yet, or not any more (IP_FREEBIND).
 *
 * A daemon that serves on addresses it also keeps in place need not begin in one order, nor again when somebody removed
 * them for a moment.
 */
import type { IpAddress } from '../../base/ip.ts';
import { kernelError } from '../errno.ts';
import * as libc from '../libc.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SO_REUSEADDR = 2;
const IPPROTO_IP = 0;
const IPPROTO_IPV6 = 41;
const IP_FREEBIND = 15;
const IPV6_V6ONLY = 26;
const IPV6_FREEBIND = 78;
const ON = Buffer.from([1, 0, 0, 0]);

/** The caller closes it. Throws KernelError. */
export function boundSocket(protocol: 'tcp' | 'udp', address: IpAddress, port: number): number {
  const family = address.family === 4 ? AF_INET : AF_INET6;
  const type = protocol === 'tcp' ? SOCK_STREAM : SOCK_DGRAM;
  const what = `listen on ${address.toString()} ${protocol} port ${port}`;
  const fd = libc.socket(family, type | libc.SOCK_CLOEXEC, 0);
  if (fd < 0) throw kernelError(what, -fd);
  // Whoever binds a UDP port a second time would take all of its datagrams.
  if (protocol === 'tcp') libc.setsockopt(fd, libc.SOL_SOCKET, SO_REUSEADDR, ON);
  if (family === AF_INET6) libc.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, ON);
  if (family === AF_INET6) libc.setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, ON);
  else libc.setsockopt(fd, IPPROTO_IP, IP_FREEBIND, ON);
  const result = libc.bind(fd, socketAddress(address, port));
  if (result >= 0) return fd;
  libc.close(fd);
  throw kernelError(what, -result);
}

/** struct sockaddr_in, sockaddr_in6. */
export function socketAddress(address: IpAddress, port: number): Buffer {
  const bytes = Buffer.alloc(address.family === 4 ? 16 : 28);
  bytes.writeUInt16LE(address.family === 4 ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(address.bytes(), address.family === 4 ? 4 : 8);
  return bytes;
}

/** The port that the kernel has chosen. */
export function boundPort(fd: number): number {
  const bytes = Buffer.alloc(28);
  return libc.getsockname(fd, bytes) < 0 ? 0 : bytes.readUInt16BE(2);
}
