/**
 * Being in another network namespace for the length of one synchronous call.
 *
 * Sockets stay in the namespace they were opened in, and /proc/sys/net shows the namespace of the thread that opens a
 * file there; so the main thread goes in, opens what it needs and comes back, without a helper process.
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { assert } from '../base/assert.ts';
import { PortolanError } from '../base/errors.ts';
import { kernelError } from './errno.ts';
import * as libc from './libc.ts';

const HOME = '/proc/thread-self/ns/net';
/** NS_GET_NSTYPE, include/uapi/linux/nsfs.h: _IO(0xb7, 3). */
const NS_GET_NSTYPE = 0xb703;

/** A namespace that we can go into as long as it is open; it lives at least that long. */
export interface NamespaceHandle {
  /** Its identity. */
  readonly inode: number;
  /** Runs `action` with the calling thread inside; `action` must not be asynchronous. */
  within<T>(action: () => T): T;
  close(): void;
}

/** The namespace that the calling thread is in now, wherever it goes later. */
export function openCurrentNamespace(): NamespaceHandle {
  return openNamespaceHandle(HOME);
}

/** Opens the namespace at `path`. Rejects what is no network namespace. */
export function openNamespaceHandle(path: string): NamespaceHandle {
  const fd = openNamespaceFd(path);
  const { ino: inode } = fstatSync(fd);
  let open = true;
  return {
    inode,
    within(action) {
      assert(open, 'a namespace handle that is still open');
      return runInside(fd, path, action);
    },
    close() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** A file descriptor of the namespace at `path`, as IFLA_NET_NS_FD wants it; the caller closes it. */
export function openNamespaceFd(path: string): number {
  let fd: number;
  try {
    // Without waiting for anybody: what is no namespace may be a named pipe.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new PortolanError('not-found', `Open network namespace "${path}": it cannot be opened`, {
      field: 'namespace',
      remedy: 'give the path of a namespace that exists, such as /run/netns/NAME or /proc/PID/ns/net',
      cause,
    });
  }
  if (libc.ioctl(fd, NS_GET_NSTYPE) === libc.CLONE_NEWNET) return fd;
  closeSync(fd);
  throw new PortolanError('invalid', `Open network namespace "${path}": it is no network namespace`, {
    field: 'namespace',
    remedy: 'give the path of a network namespace, such as /run/netns/NAME or /proc/PID/ns/net',
  });
}

/** Inode of the network namespace at `path`; `undefined` when there is none there. */
export function namespaceInode(path: string): number | undefined {
  try {
    const fd = openNamespaceFd(path);
    try {
      return fstatSync(fd).ino;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    // A leftover plain file under /run/netns (its mount gone, as after a reboot) is none.
    if (error instanceof PortolanError) return undefined;
    throw error;
  }
}

function runInside<T>(fd: number, path: string, action: () => T): T {
  const home = openSync(HOME, 'r');
  try {
    const entered = libc.setns(fd, libc.CLONE_NEWNET);
    if (entered < 0) throw kernelError(`enter network namespace "${path}"`, -entered);
    try {
      return action();
    } finally {
      const back = libc.setns(home, libc.CLONE_NEWNET);
      // Going on in a foreign namespace would put addresses where they do not belong: better to die.
      if (back < 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}
