/** A disk that is really full: a small file system of its own, filled to the last block. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ExchangeWorld, nodeRecord } from '../../test/support/exchange-world.ts';
import { silentLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { newNodeId } from '../model/names.ts';
import { keys } from '../model/record.ts';
import { openJournal } from '../store/journal.ts';
import type { Journal } from '../store/types.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'portolan-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', directory]);
});
afterEach(() => {
  execFileSync('umount', [directory]);
  rmdirSync(directory);
});

const open = (): Promise<Journal> =>
  openJournal(
    { log: silentLog },
    { path: join(directory, 'journal'), what: 'the records', recovery: 'none' },
  );

/** Not a byte more fits. */
function fill(): void {
  for (const bytes of [4_096, 1]) {
    for (let i = 0; ; i++)
      try {
        writeFileSync(join(directory, 'ballast'), 'x'.repeat(bytes), { flag: 'a' });
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
        break;
      }
  }
}

it('a record is not acknowledged while the disk is full, what was before is kept, and it goes on when there is room', async () => {
  const world = new ExchangeWorld();
  const other = await world.add();
  const journal = await open();
  const metrics = createMetrics();
  const base = { host: '10.0.0.9', node: newNodeId(world.random), disk: new Map(), lines: [], metrics };
  const exchange = await world.open(base, {}, { journal });
  await exchange.publish(keys.node(base.node), nodeRecord(base.host));
  await world.until(() => other.exchange.get(keys.node(base.node)) !== undefined, 10_000);

  fill();
  const key = keys.endpoint(base.node, 'c1', 'eth0');
  await expect(exchange.publish(key, { text: 'y'.repeat(10_000) })).rejects.toMatchObject({
    code: 'unavailable',
    remedy: `free space or mend the file system of "${directory}"`,
  });
  // It goes on hearing, and being heard.
  await other.exchange.publish(keys.node(other.node), nodeRecord('10.0.0.1'));
  await world.until(
    () => JSON.stringify(exchange.get(keys.node(other.node))?.value).includes('"10.0.0.1"'),
    10_000,
  );

  rmSync(join(directory, 'ballast'));
  await exchange.publish(keys.endpoint(base.node, 'c2', 'eth0'), { n: 2 });
  await exchange.close();
  await journal.close();
  const again = await open();
  const kept = Array.from(again.entries('record/'), ([name]) => name.slice('record/'.length));
  expect(kept).toEqual(
    expect.arrayContaining([keys.node(base.node), key, keys.endpoint(base.node, 'c2', 'eth0')]),
  );
  await again.close();
  await world.close();
});
