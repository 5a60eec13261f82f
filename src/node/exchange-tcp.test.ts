/** The exchange with what it has in production: real time, TCP and files. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { realClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { realRandom } from '../base/random.ts';
import { newClusterId } from '../model/names.ts';
import { keys } from '../model/record.ts';
import { createTcpTransport } from '../peer/tcp.ts';
import { openJournal } from '../store/journal.ts';
import { openExchange } from './exchange.ts';
import { openIdentity } from './identity.ts';

it('records go over TCP and come back from the file after a restart, alone', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'portolan-exchange-'));
  const cluster = newClusterId(realRandom);
  const open = async (name: string, contacts: readonly string[]) => {
    const journal = await openJournal({ log: silentLog }, { path: join(directory, name), what: 'the test' });
    const node = await openIdentity({ journal, random: realRandom });
    const exchange = await openExchange(
      {
        clock: realClock,
        random: realRandom,
        log: silentLog,
        metrics: createMetrics(),
        transport: createTcpTransport({ clock: realClock, log: silentLog }),
        journal,
      },
      { cluster, node, listen: { host: '127.0.0.1', port: 0 }, contacts },
    );
    const close = async (): Promise<void> => {
      await exchange.close();
      await journal.close();
    };
    return { exchange, node, close };
  };

  const one = await open('one', []);
  const contact = `127.0.0.1:${one.exchange.address()?.port ?? 0}`;
  const others = await Promise.all(['two', 'three'].map((name) => open(name, [contact])));
  for (const { exchange, node } of [one, ...others])
    await exchange.publish(keys.overlay(node, 'dcos'), { node });
  for (const { exchange } of [one, ...others]) await expect.poll(() => exchange.digest().records).toBe(3);
  const hash = one.exchange.digest().hash;
  for (const { close } of [one, ...others]) await close();
  await expect(one.exchange.publish(keys.overlay(one.node, 'late'), 1)).rejects.toMatchObject({
    code: 'unavailable',
  });

  const again = await open('two', []);
  expect(again.exchange.digest()).toEqual({ records: 3, hash });
  expect(again.node).toBe(others[0]?.node);
  await again.close();
  rmSync(directory, { recursive: true, force: true });
});
