import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { silentLog } from '../base/log.ts';
import { kernelContract } from './contract.ts';
import { kernelError } from './errno.ts';
import * as libc from './libc.ts';
import { openKernel } from './real.ts';
import type { OpenKernel } from './samples-contract.ts';

let count = 0;

function enter(fd: number): void {
  const result = libc.setns(fd, libc.CLONE_NEWNET);
  if (result < 0) throw kernelError('enter a namespace', -result);
}

/**
 * A kernel of a namespace of its own, which this thread, and with it every `nft` it starts, is in until `close`.
 * Somebody else is a second handle on the same namespace.
 */
async function openInNamespace(): Promise<OpenKernel> {
  const id = `pka-${process.pid}-${count++}`;
  const names = [id, `${id}a`, `${id}b`] as const;
  for (const name of names) execFileSync('ip', ['netns', 'add', name]);
  const home = openSync('/proc/self/ns/net', 'r');
  const inside = openSync(`/run/netns/${id}`, 'r');
  enter(inside);
  closeSync(inside);
  const kernel = await openKernel({ log: silentLog });
  const stranger = await kernel.openNamespace(`/run/netns/${id}`);
  return {
    kernel,
    namespaces: [`/run/netns/${names[1]}`, `/run/netns/${names[2]}`],
    interfere: async (operations) => {
      expect((await stranger.apply(operations)).map(({ error }) => error.message)).toEqual([]);
    },
    close: () => {
      stranger.close();
      kernel.close();
      enter(home);
      closeSync(home);
      for (const name of names) execFileSync('ip', ['netns', 'delete', name]);
    },
  };
}

kernelContract('the kernel', openInNamespace);

describe('the real kernel', () => {
  it('comes back from another namespace also after an error there', async () => {
    const opened = await openInNamespace();
    try {
      const before = await opened.kernel.namespaceInode('/proc/thread-self/ns/net');
      const other = await opened.kernel.openNamespace(opened.namespaces[0]);
      await expect(other.writeSysctl('net.ipv4.ip_forward', 'nonsense')).rejects.toThrow('EINVAL');
      expect(await opened.kernel.namespaceInode('/proc/thread-self/ns/net')).toBe(before);
      other.close();
    } finally {
      await opened.close();
    }
  });

  it('takes no other kind of namespace and no plain file for a network namespace', async () => {
    const opened = await openInNamespace();
    try {
      for (const path of ['/proc/self/ns/mnt', '/etc/hostname']) {
        expect(await opened.kernel.namespaceInode(path)).toBeUndefined();
        await expect(opened.kernel.openNamespace(path)).rejects.toThrow('it is no network namespace');
      }
    } finally {
      await opened.close();
    }
  });
});
