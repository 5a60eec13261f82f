/** `kill -9` at any point: a grant that was answered is there, once. The real store, in a process of its own. */
import { execFileSync, fork } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { silentLog } from '../base/log.ts';
import type { UpdateAgentOverlays } from '../model/registration.ts';
import { openEmbeddedStore } from '../store/embedded.ts';
import { recover } from './recovery.ts';

/** Registers and removes nodes for ever, four at a time, and tells what it was answered. */
const program = `
import { setImmediate as turn } from 'node:timers/promises';
import { silentLog } from './base/log.js';
import { createMetrics } from './base/metrics.js';
import { realClock } from './base/clock.js';
import { realRandom } from './base/random.js';
import { defaultNetwork } from './model/config.js';
import { newNodeId } from './model/names.js';
import { agentNetworkConfig } from './model/overlay.js';
import { createMasterMetrics } from './master/metrics.js';
import { ensureClusterId } from './master/recovery.js';
import { Registry } from './master/registry.js';
import { openEmbeddedStore } from './store/embedded.js';

const store = await openEmbeddedStore({ log: silentLog }, { dir: process.argv[2] });
const components = { clock: realClock, random: realRandom, log: silentLog, store };
const exchange = { publishCluster: () => Promise.resolve() };
const registry = await Registry.open(
  { ...components, exchange, metrics: createMasterMetrics(createMetrics()) },
  { cluster: await ensureClusterId(components), network: defaultNetwork, hostNetworks: [], masters: [] },
);
const network_config = agentNetworkConfig.parse({});
async function work() {
  const mine = [];
  for (let i = 0; ; i++) {
    const node = newNodeId(realRandom);
    const message = { node, name: 'n', address: '10.0.0.1', gossip_port: 1, api_port: 2, network_config };
    process.send({ granted: node, update: await registry.register(message) });
    mine.push(node);
    if (i % 3 === 2) {
      const gone = mine.splice(i % mine.length, 1)[0];
      process.send({ removing: gone });
      await registry.remove([gone]);
      process.send({ removed: gone });
    }
    await turn();
  }
}
await Promise.all([work(), work(), work(), work()]);
`;

interface Told {
  readonly granted?: string;
  readonly update?: UpdateAgentOverlays;
  readonly removing?: string;
  readonly removed?: string;
}

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'portolan-kill-'));
  const sources = ['master/registry.ts', 'store/embedded.ts', 'model/config.ts'].map((path) =>
    join('src', path),
  );
  const flags = '--ignoreConfig --noCheck --types node --module nodenext --target es2023';
  const output = ['--rewriteRelativeImportExtensions', '--rootDir', 'src', '--outDir', directory];
  execFileSync('node_modules/.bin/tsc', [...flags.split(' '), ...output, ...sources]);
  symlinkSync(resolve('node_modules'), join(directory, 'node_modules'));
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(join(directory, 'grants.js'), program);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Runs the program until it has told `count` things, then kills it; everything it told. */
async function runUntilKilled(count: number): Promise<readonly Told[]> {
  const child = fork(join(directory, 'grants.js'), [join(directory, 'store')]);
  const told: Told[] = [];
  child.on('message', (message) => {
    told.push(message as Told);
    if (told.length === count) child.kill('SIGKILL');
  });
  await new Promise((ended) => child.once('exit', ended));
  expect(told.length).toBeGreaterThanOrEqual(count);
  return told;
}

const blocks = (update: UpdateAgentOverlays | undefined) =>
  update?.overlays.map(({ subnet, subnet6 }) => subnet ?? subnet6 ?? '') ?? [];

test('no acknowledged grant is lost, none is given twice, and what was removed stays removed', async () => {
  const granted = new Map<string, readonly string[]>();
  const perhaps = new Set<string>();
  const removed = new Set<string>();
  for (const count of [1, 40, 97, 210, 333]) {
    for (const told of await runUntilKilled(count)) {
      if (told.granted !== undefined) granted.set(told.granted, blocks(told.update));
      if (told.removing !== undefined) perhaps.add(told.removing);
      if (told.removed !== undefined) removed.add(told.removed);
    }
    const store = await openEmbeddedStore({ log: silentLog }, { dir: join(directory, 'store') });
    const { content } = await recover(store);
    await store.close();
    const held = new Map(
      content.nodes.map(({ node, grant }) => [
        node as string,
        grant.overlays.map((block) => String(block.subnet ?? block.subnet6)),
      ]),
    );
    for (const [node, wanted] of granted) {
      if (removed.has(node)) expect(held.has(node)).toBe(false);
      else if (!perhaps.has(node) || held.has(node)) expect(held.get(node)).toEqual(wanted);
    }
    const all = [...held.values()].flat();
    const vteps = content.nodes.map(({ grant }) => String(grant.vtepIp));
    expect([new Set(all).size, new Set(vteps).size]).toEqual([all.length, vteps.length]);
    expect(Math.max(...content.nodes.map(({ grant_epoch }) => grant_epoch), 0)).toBeLessThanOrEqual(
      content.epoch,
    );
  }
});
