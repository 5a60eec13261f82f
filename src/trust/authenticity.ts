/** Whether a record is from whom its key says: what the record exchange asks of whoever knows keys. */
import type { GossipRecord } from '../model/record.ts';

export type Authenticity =
  | { readonly is: 'genuine' }
  | { readonly is: 'forged'; readonly reason: string }
  /** To be judged when the record of key `needs` is known. */
  | { readonly is: 'unknown'; readonly needs: string };

export interface Authenticator {
  /** The signature of a record that is written here; `text` is its canonical form without one. */
  sign(record: GossipRecord, text: string): string | undefined;
  /** `known` gives records that were judged before. */
  judge(record: GossipRecord, text: string, known: (key: string) => GossipRecord | undefined): Authenticity;
}
