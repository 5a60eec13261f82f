/**
 * Whether a port is free, by binding to it for a moment: 10 us, however many sockets the host has.
 *
 * A TCP socket with SO_REUSEADDR is refused a port on which another listens, and is not bothered by connections in
 * TIME_WAIT (net/ipv4/inet_connection_sock.c, inet_csk_bind_conflict). Nothing listens meanwhile, so nobody notices.
 */
import * as libc from './libc.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SO_REUSEADDR = 2;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;

/** True also when it cannot be told. */
export function portPerhapsInUse(protocol: 'tcp' | 'udp', port: number): boolean {
  // An IPv6 wildcard socket stands for both families; a host without IPv6 has only the other.
  const answer = probe(AF_INET6, protocol, port);
  return (answer === 'unsupported' ? probe(AF_INET, protocol, port) : answer) !== 'free';
}

function probe(family: number, protocol: 'tcp' | 'udp', port: number): 'free' | 'taken' | 'unsupported' {
  const type = (protocol === 'tcp' ? SOCK_STREAM : SOCK_DGRAM) | libc.SOCK_CLOEXEC;
  const fd = libc.socket(family, type, 0);
  if (fd < 0) return 'unsupported';
  try {
    if (protocol === 'tcp') libc.setsockopt(fd, libc.SOL_SOCKET, SO_REUSEADDR, Buffer.from([1, 0, 0, 0]));
    // Not as sysctl net.ipv6.bindv6only may say.
    if (family === AF_INET6) libc.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, Buffer.from([0, 0, 0, 0]));
    return libc.bind(fd, wildcard(family, port)) === 0 ? 'free' : 'taken';
  } finally {
    libc.close(fd);
  }
}

/** struct sockaddr_in and sockaddr_in6 with the address left zero. */
function wildcard(family: number, port: number): Uint8Array {
  const address = Buffer.alloc(family === AF_INET ? 16 : 28);
  address.writeUInt16LE(family, 0);
  address.writeUInt16BE(port, 2);
  return address;
}
