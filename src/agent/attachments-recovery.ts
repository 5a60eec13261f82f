/** What of attachments a crash or a reboot left: kept, or cleared away. */
import type { Log } from '../base/log.ts';
import type { Kernel } from '../kernel/types.ts';
import { attachmentAlias, isAttachmentAlias } from '../overlay/marks.ts';
import type { AttachmentRecord } from './attachments-record.ts';
import { findFaults, removePair } from './attachments-wiring.ts';

/**
 * Whether a recorded attachment stands when the agent starts. Devices of a `ready` one outlive the agent, but not a
 * reboot; of any other it has to be looked at how far it came.
 */
export async function outlives(
  kernel: Kernel,
  record: AttachmentRecord,
  rebooted: boolean,
): Promise<boolean> {
  if (record.state === 'doomed') return false;
  if (record.state === 'ready' && !rebooted) return true;
  if ((await kernel.namespaceInode(record.netns)) !== record.inode) return false;
  const inside = await kernel.openNamespace(record.netns).catch(() => undefined);
  // It vanished just now.
  if (inside === undefined) return false;
  try {
    return (await findFaults(kernel, inside, record)).length === 0;
  } finally {
    inside.close();
  }
}

/** Of ADDs that a crash cut short before the disk knew of them: such a pair bears our mark, and has no address yet. */
export async function removeUnknownPairs(
  kernel: Kernel,
  records: readonly AttachmentRecord[],
  log: Log,
): Promise<void> {
  const known = new Set(records.map(({ container, ifname }) => attachmentAlias(container, ifname)));
  for (const { name, details, alias } of await kernel.links()) {
    if (details.kind !== 'veth' || !isAttachmentAlias(alias) || known.has(alias ?? '')) continue;
    const error = await removePair(kernel, name);
    if (error === undefined)
      log.warn('removed the interface of an attachment that a crash cut short', { name });
    else log.warn('could not remove the interface of an attachment that a crash cut short', { name, error });
  }
}
