/** TCP sockets that live in another network namespace: whoever connects them need not be there. */
import { kernelError } from './errno.ts';
import * as libc from './libc.ts';
import { openNamespaceHandle } from './netns.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;

/** A descriptor of an unconnected socket in the namespace at `path`; the caller owns it. */
export function tcpSocketIn(path: string, family: 4 | 6): number {
  const handle = openNamespaceHandle(path);
  try {
    const domain = family === 4 ? AF_INET : AF_INET6;
    const fd = handle.within(() => libc.socket(domain, SOCK_STREAM | libc.SOCK_CLOEXEC, 0));
    if (fd < 0) throw kernelError(`open a socket in network namespace "${path}"`, -fd);
    return fd;
  } finally {
    handle.close();
  }
}
