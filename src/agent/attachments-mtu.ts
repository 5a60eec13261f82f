/**
 * The MTU of an attachment: the network's, or less where its configuration says so.
 *
 * It follows the underlay's under a running container. Between two containers of one bridge no router could say that a
 * packet is too large, so they must not differ.
 */
import { CniError, cniCodes } from '../cni/errors.ts';
import type { Kernel, KernelOperation } from '../kernel/types.ts';
import type { NetworkView } from './attachments-network.ts';
import type { AttachmentRecord } from './attachments-record.ts';

export function mtuFor(limit: number | undefined, { mtu }: NetworkView): number {
  return limit === undefined ? mtu : Math.min(limit, mtu);
}

/** Sets both ends of the pair; rejects when its container is another one by now. */
export async function setMtu(kernel: Kernel, record: AttachmentRecord, mtu: number): Promise<void> {
  if ((await kernel.namespaceInode(record.netns)) !== record.inode)
    throw new CniError(cniCodes.ioFailure, `Cannot find the namespace of container "${record.container}"`);
  const set = (name: string): KernelOperation => ({ do: 'link-set', name, settings: { mtu } });
  const inside = await kernel.openNamespace(record.netns);
  try {
    const failures = [
      ...(await kernel.apply([set(record.hostLink)])),
      ...(await inside.apply([set(record.ifname)])),
    ];
    for (const { error } of failures) throw error;
  } finally {
    inside.close();
  }
}
