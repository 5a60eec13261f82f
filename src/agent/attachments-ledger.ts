/**
 * Which container has what: records, addresses and host ports in memory, in step with the journal.
 *
 * Invariants: what is about to be made is claimed at once and on disk before `intend` resolves; what is gone leaves
 * memory after it has left the disk, its address last, so that nobody gets that while anything of it is left.
 */
import type { Gauge } from '../base/metrics.ts';
import type { CniRequest } from '../cni/request.ts';
import type { IpAddress, Prefix } from '../base/ip.ts';
import type { Endpoint, PortMapping } from '../model/endpoint.ts';
import type { Attachment } from '../overlay/desired.ts';
import type { Journal } from '../store/types.ts';
import { AttachmentAddresses, type Subnet } from './attachments-addresses.ts';
import type { NetworkView } from './attachments-network.ts';
import { planAttachment } from './attachments-plan.ts';
import { PortClaims } from './attachments-ports.ts';
import {
  addressesOf,
  ATTACHMENT_KEYS,
  attachmentId,
  attachmentKey,
  readAttachment,
  type AttachmentRecord,
} from './attachments-record.ts';
import { AttachmentsTable } from './attachments-table.ts';

export interface AttachmentsLedgerComponents {
  readonly journal: Journal;
  readonly count: Gauge;
}

export class AttachmentsLedger {
  readonly #journal: Journal;
  readonly #count: Gauge;
  readonly #onChange: () => void;
  readonly #records = new AttachmentsTable();
  readonly #addresses = new AttachmentAddresses();
  readonly #ports = new PortClaims((id) => {
    const name = this.#records.get(id)?.name;
    return name === undefined ? `"${id}"` : `"${name}" (${id})`;
  });

  /** `onChange`: what `desired` or `list` gives has changed. */
  constructor(components: AttachmentsLedgerComponents, init: { readonly onChange: () => void }) {
    this.#journal = components.journal;
    this.#count = components.count;
    this.#onChange = init.onChange;
    this.#load();
  }

  desired(): readonly Attachment[] {
    return this.#records.desired();
  }

  endpoints(): readonly Endpoint[] {
    return this.#records.endpoints();
  }

  records(): readonly AttachmentRecord[] {
    return this.#records.records();
  }

  get(id: string): AttachmentRecord | undefined {
    return this.#records.get(id);
  }

  free(subnets: readonly Subnet[]): number {
    return this.#addresses.free(subnets);
  }

  exhausted(subnets: readonly Subnet[]): Prefix | undefined {
    return this.#addresses.exhausted(subnets);
  }

  /** Throws when a port is another container's. */
  checkPorts(mappings: readonly PortMapping[]): void {
    this.#ports.check(mappings);
  }

  /** Chooses everything and claims it; nothing waits in here, so nobody else can claim the same. */
  plan(request: CniRequest, view: NetworkView, inode: number): AttachmentRecord {
    const id = attachmentId(request);
    const allocated = this.#addresses.allocate(view.subnets, request.config.addresses, id);
    try {
      const record = planAttachment(request, { view, inode, allocated });
      this.#ports.take(record.ports, id);
      return record;
    } catch (error) {
      const addresses = allocated.map(({ address }) => address.address);
      this.#addresses.release(addresses, id);
      throw error;
    }
  }

  /** Resolves when it is on disk what is about to be made. */
  intend(record: AttachmentRecord): Promise<void> {
    this.#records.put(record);
    this.#count.set(this.#records.size);
    // Before there is a veth: a round of the reconciler that met it without this would remove it as a stray.
    this.#onChange();
    return this.#journal.write({
      [attachmentKey(record.container, record.ifname)]: record,
      ...this.#addresses.allocationChanges(ipsOf(record)),
    });
  }

  /** On disk when convenient: what a crash loses of this is found by looking at the kernel. */
  keep(record: AttachmentRecord): void {
    this.#records.put(record);
    this.#journal.writeLazily({ [attachmentKey(record.container, record.ifname)]: record });
    this.#onChange();
  }

  /** It is unmade: resolves when nothing remembers it. */
  async forget(record: AttachmentRecord): Promise<void> {
    const id = attachmentId(record);
    const addresses = ipsOf(record);
    await this.#journal.write({
      [attachmentKey(record.container, record.ifname)]: undefined,
      ...this.#addresses.releaseChanges(addresses),
    });
    this.#ports.release(id, record.ports);
    this.#addresses.release(addresses, id);
    this.#records.delete(id);
    this.#count.set(this.#records.size);
    this.#onChange();
  }

  #load(): void {
    this.#addresses.load(this.#journal);
    for (const [key, value] of this.#journal.entries(ATTACHMENT_KEYS)) {
      const record = readAttachment(key, value);
      const id = attachmentId(record);
      this.#records.put(record);
      for (const address of ipsOf(record)) this.#addresses.hold(address, id);
      this.#ports.hold(record.ports, id);
    }
    this.#count.set(this.#records.size);
  }
}

function ipsOf(record: AttachmentRecord): readonly IpAddress[] {
  return addressesOf(record).map(({ address }) => address);
}
