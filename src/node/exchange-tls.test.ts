/** Who may exchange records: the exchange over mutual TLS on the loopback interface. */
import { afterEach, describe, expect, it } from 'vitest';
import { realClock } from '../base/clock.ts';
import { memoryLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { realRandom } from '../base/random.ts';
import { newNodeId, type NodeId } from '../model/names.ts';
import { keys } from '../model/record.ts';
import { createTlsTransport } from '../peer/tls.ts';
import { memoryJournal } from '../store/memory-journal.ts';
import { testAuthority, testCredentials } from '../trust/fake.ts';
import { openExchange } from './exchange.ts';

const authority = testAuthority();
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A node; `claims` is who it says it is, where that is not who it is certified to be. */
async function open(init: { contact?: string; claims?: NodeId; certifiedBy?: typeof authority } = {}) {
  const log = memoryLog();
  const held = { current: testCredentials(init.certifiedBy ?? authority) };
  const node = init.claims ?? held.current.name.node;
  const components = { clock: realClock, random: realRandom, log };
  const transport = createTlsTransport(components, { credentials: () => held.current });
  const exchange = await openExchange(
    { ...components, metrics: createMetrics(), transport, journal: memoryJournal() },
    {
      cluster: authority.cluster,
      node,
      listen: { host: '127.0.0.1', port: 0 },
      contacts: init.contact === undefined ? [] : [init.contact],
    },
  );
  closers.push(() => exchange.close());
  const reasons = (): unknown[] =>
    log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields['reason']);
  return { exchange, node, held, reasons, contact: `127.0.0.1:${exchange.address()?.port ?? 0}` };
}

describe('the record exchange over TLS', () => {
  it('takes records of certified nodes, also while their certificates are renewed', async () => {
    const one = await open();
    const two = await open({ contact: one.contact });
    await expect.poll(() => one.exchange.peers().some(({ connected }) => connected)).toBe(true);
    for (let i = 0; i < 20; i++) {
      one.held.current = testCredentials(authority, { node: one.node });
      two.held.current = testCredentials(authority, { node: two.node });
      await two.exchange.publish(keys.overlay(two.node, 'dcos'), { i });
    }
    await expect.poll(() => one.exchange.get(keys.overlay(two.node, 'dcos'))?.value).toEqual({ i: 19 });
    expect([...one.reasons(), ...two.reasons()]).toEqual([]);
    const three = await open({ contact: one.contact });
    await expect.poll(() => three.exchange.digest()).toEqual(one.exchange.digest());
  });

  it('refuses a node that says it is another than it is certified to be', async () => {
    const one = await open();
    const victim = newNodeId(realRandom);
    const liar = await open({ contact: one.contact, claims: victim });
    await liar.exchange.publish(keys.overlay(victim, 'dcos'), { node: victim });
    await expect
      .poll(() => one.reasons())
      .toContainEqual(expect.stringMatching(`it says it is node "${victim}", its certificate is of "n`));
    expect(one.exchange.digest().records).toBe(0);
  });

  it('refuses one whose cluster id is ours and whose certificate is not', async () => {
    const one = await open();
    const stranger = await open({ contact: one.contact, certifiedBy: testAuthority(authority.cluster) });
    await stranger.exchange.publish(keys.overlay(stranger.node, 'dcos'), {});
    await expect
      .poll(() => stranger.reasons())
      .toContain("its certificate is not of this cluster's authority");
    expect(one.exchange.digest().records).toBe(0);
    expect(one.exchange.peers()).toEqual([]);
  });

  it('refuses a node that was removed, by its record', async () => {
    const one = await open();
    const gone = await open();
    await one.exchange.publishCluster(keys.removed(gone.node), { node: gone.node, grant_epoch: 1 }, 1);
    await gone.exchange.publish(keys.overlay(gone.node, 'dcos'), {});
    gone.exchange.addContacts([one.contact]);
    await expect.poll(() => one.reasons()).toContain('it was removed from the cluster');
    // It hears of its removal, and nothing of it is taken.
    await expect
      .poll(() => gone.exchange.get(keys.removed(gone.node))?.value)
      .toMatchObject({ node: gone.node });
    expect(one.exchange.get(keys.overlay(gone.node, 'dcos'))).toBeUndefined();
  });
});
