/**
 * A node of a lab's cluster without a host: it joined as any node does, signs what it writes, and is believed.
 */
import { ensureRecordKey, type MemberCredentials } from '../../src/agent/credentials.ts';
import { realClock } from '../../src/base/clock.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { realRandom } from '../../src/base/random.ts';
import { recordText } from '../../src/gossip/records.ts';
import { keys, type GossipRecord, type RecordValue } from '../../src/model/record.ts';
import { openExchange } from '../../src/node/exchange.ts';
import type { RecordExchange } from '../../src/node/record-exchange.ts';
import { createTlsTransport } from '../../src/peer/tls.ts';
import { memoryJournal } from '../../src/store/memory-journal.ts';
import type { Journal } from '../../src/store/types.ts';
import { RecordSignatures } from '../../src/trust/record-signatures.ts';

export interface Member {
  readonly journal: Journal;
  readonly credentials: MemberCredentials['credentials'];
  readonly signatures: RecordSignatures;
}

/** `join`: how it gets its certificate (src/agent/joining.ts). */
export async function becomeMember(
  join: (components: { readonly journal: Journal }) => Promise<MemberCredentials>,
): Promise<Member> {
  const journal = memoryJournal();
  const { credentials } = await join({ journal });
  const { cluster, node } = credentials.name;
  const signatures = new RecordSignatures({
    cluster,
    authority: () => credentials.authority,
    own: { node, key: await ensureRecordKey(journal), credentials: () => credentials },
  });
  return { journal, credentials, signatures };
}

/** What it would have others know: `values` by key, and first by what all of that is verified. */
export function signedRecords(
  { credentials, signatures }: Member,
  values: Readonly<Record<string, RecordValue>>,
): readonly GossipRecord[] {
  const signer = { [keys.signer(credentials.name.node)]: signatures.introduction(undefined) ?? null };
  return Object.entries({ ...signer, ...values }).map(([key, value], i) => {
    const record = { key, version: { epoch: 1, sequence: i + 1 }, value };
    const signature = signatures.sign(record, recordText(record) ?? '');
    return signature === undefined ? record : { ...record, signature };
  });
}

/** Takes part in the record exchange, found by the agent at `address`. */
export function exchangeOf(
  { journal, credentials, signatures }: Member,
  init: { readonly address: string; readonly port: number },
): Promise<RecordExchange> {
  const { cluster, node } = credentials.name;
  const components = { clock: realClock, random: realRandom, log: createLog('error') };
  const transport = createTlsTransport(components, { credentials: () => credentials });
  return openExchange(
    { ...components, metrics: createMetrics(), journal, transport, authenticator: signatures },
    {
      ...{ cluster, node },
      listen: { host: init.address, port: init.port },
      contacts: [`${init.address}:62501`],
    },
  );
}
