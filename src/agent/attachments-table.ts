/**
 * The attachments in memory, with what is derived from each: made once per record, since a host has hundreds and each
 * container that comes asks for all of them.
 */
import type { Endpoint } from '../model/endpoint.ts';
import type { Attachment } from '../overlay/desired.ts';
import { attachmentId, toDesired, toEndpoint, type AttachmentRecord } from './attachments-record.ts';

interface Row {
  readonly record: AttachmentRecord;
  readonly desired: Attachment;
  /** Absent while the attachment is not complete. */
  readonly endpoint: Endpoint | undefined;
}

export class AttachmentsTable {
  readonly #rows = new Map<string, Row>();

  get size(): number {
    return this.#rows.size;
  }

  get(id: string): AttachmentRecord | undefined {
    return this.#rows.get(id)?.record;
  }

  put(record: AttachmentRecord): void {
    const endpoint = record.state === 'ready' ? toEndpoint(record) : undefined;
    this.#rows.set(attachmentId(record), { record, desired: toDesired(record), endpoint });
  }

  delete(id: string): void {
    this.#rows.delete(id);
  }

  /** As of now: the table may change while the list is walked. */
  records(): readonly AttachmentRecord[] {
    return Array.from(this.#rows.values(), ({ record }) => record);
  }

  desired(): readonly Attachment[] {
    return Array.from(this.#rows.values(), ({ desired }) => desired);
  }

  endpoints(): readonly Endpoint[] {
    return [...this.#rows.values()].flatMap(({ endpoint }) => endpoint ?? []);
  }
}
