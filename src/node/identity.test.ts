import { expect, it } from 'vitest';
import { realRandom } from '../base/random.ts';
import { isNodeId } from '../model/names.ts';
import { memoryJournal } from '../store/memory-journal.ts';
import { openIdentity, rotateIdentity } from './identity.ts';

it('a node keeps its identity over restarts until it is given another', async () => {
  const disk = new Map<string, string>();
  const components = { journal: memoryJournal(disk), random: realRandom };
  const first = await openIdentity(components);
  expect(isNodeId(first)).toBe(true);
  expect(await openIdentity({ journal: memoryJournal(disk), random: realRandom })).toBe(first);
  const second = await rotateIdentity(components);
  expect(second).not.toBe(first);
  expect(await openIdentity({ journal: memoryJournal(disk), random: realRandom })).toBe(second);
});

it('an identity that is none is reported, not replaced', async () => {
  const journal = memoryJournal(new Map([['identity/node', '"me"']]));
  await expect(openIdentity({ journal, random: realRandom })).rejects.toMatchObject({
    code: 'corrupt',
    field: 'identity/node',
  });
});
