/** The real kernel as the contract suite opens it: in a namespace of its own. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { expect } from 'vitest';
import { silentLog } from '../base/log.ts';
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
export async function openInNamespace(): Promise<OpenKernel> {
  const id = `kt-${process.pid}-${count++}`;
  const names = [id, `${id}a`, `${id}b`] as const;
  const home = openSync('/proc/self/ns/net', 'r');
  const leave = (): void => {
    enter(home);
    closeSync(home);
    for (const name of names) execFileSync('ip', ['netns', 'delete', name]);
  };
  for (const name of names) execFileSync('ip', ['netns', 'add', name]);
  try {
    return await openOnce(id, leave);
  } catch (error) {
    leave();
    throw error;
  }
}

async function openOnce(id: string, leave: () => void): Promise<OpenKernel> {
  const inside = openSync(`/run/netns/${id}`, 'r');
  enter(inside);
  closeSync(inside);
  const kernel = await openKernel({ log: silentLog });
  const stranger = await kernel.openNamespace(`/run/netns/${id}`);
  return {
    kernel,
    namespaces: [`/run/netns/${id}a`, `/run/netns/${id}b`],
    interfere: async (operations) => {
      expect((await stranger.apply(operations)).map(({ error }) => error.message)).toEqual([]);
    },
    interfereNft: () => execFileSync('nft', ['add', 'table', 'inet', 'other']),
    close: () => {
      stranger.close();
      kernel.close();
      leave();
    },
  };
}
