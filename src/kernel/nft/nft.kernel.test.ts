import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ip } from '../../base/ip.ts';
import { kernelError } from '../errno.ts';
import * as libc from '../libc.ts';
import { isErrno } from '../types.ts';
import { arbitraryTable } from './arbitrary.ts';
import { nftContract } from './contract.ts';
import { createNft, type RealNft } from './nft.ts';
import { elementKey, type NftElement, type NftSet, type NftTable } from './types.ts';

let count = 0;

/** A namespace of its own that this thread, and with it every `nft` it starts, is in until `leave`. */
function enterNamespace(): { leave(): void } {
  const name = `portolan-nft-${process.pid}-${count++}`;
  const home = openSync('/proc/self/ns/net', 'r');
  execFileSync('ip', ['netns', 'add', name]);
  enter(`/run/netns/${name}`);
  return {
    leave: () => {
      enter(home);
      closeSync(home);
      execFileSync('ip', ['netns', 'delete', name]);
    },
  };
}

function enter(namespace: string | number): void {
  const fd = typeof namespace === 'string' ? openSync(namespace, 'r') : namespace;
  const result = libc.setns(fd, libc.CLONE_NEWNET);
  if (typeof namespace === 'string') closeSync(fd);
  if (result < 0) throw kernelError('enter a namespace', -result);
}

function openInNamespace(): { nft: RealNft; close(): void } {
  const namespace = enterNamespace();
  const nft = createNft({});
  return {
    nft,
    close: () => {
      nft.close();
      namespace.leave();
    },
  };
}

nftContract('the kernel', openInNamespace);

describe('the nft of the kernel', () => {
  let opened: { nft: RealNft; close(): void };
  let nft: RealNft;

  beforeAll(() => {
    opened = openInNamespace();
    nft = opened.nft;
  });
  afterAll(() => opened.close());

  const sorted = (elements: readonly NftElement[] | undefined): string[] | undefined =>
    elements?.map(elementKey).toSorted();

  it('accepts every table that can be rendered and reads its elements back', async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTable, async (table) => {
        const fingerprint = await nft.replace(table);
        expect(await nft.fingerprint(table)).toBe(fingerprint);
        for (const set of table.sets)
          expect(sorted(await nft.elements(table, set))).toEqual(sorted(set.elements));
        const all = table.sets.map((set) => ({ set, remove: set.elements, add: [] }));
        await nft.change(table, all);
        for (const set of table.sets) expect(await nft.elements(table, set)).toEqual([]);
        await nft.change(
          table,
          table.sets.map((set) => ({ set, remove: [], add: set.elements })),
        );
        for (const set of table.sets)
          expect(sorted(await nft.elements(table, set))).toEqual(sorted(set.elements));
        await nft.remove(table);
      }),
      { numRuns: 25 },
    );
  });

  it('reads elements that the nft program added, as nft reads ours', async () => {
    const set: NftSet = { name: 's', key: ['ipv4_addr'], interval: true };
    const table = { family: 'inet', name: 'both', sets: [{ ...set, elements: [] }], chains: [] } as const;
    await nft.replace(table);
    await nft.run('add element inet both s { 10.0.0.1-10.0.0.6, 9.0.0.0/8 }');
    expect(sorted(await nft.elements(table, set))).toEqual([
      '10.0.0.1/32',
      '10.0.0.2/31',
      '10.0.0.4/31',
      '10.0.0.6/32',
      '9.0.0.0/8',
    ]);
    const add = [{ key: [ip('1.1.1.1')] }];
    await nft.change(table, [{ set, remove: [], add }]);
    expect(JSON.stringify(await nft.list(['list', 'set', 'inet', 'both', 's']))).toContain('"1.1.1.1"');
  });

  it('changes and reads back 20,000 elements in one batch', async () => {
    const set: NftSet = {
      name: 'm',
      key: ['ipv4_addr', 'inet_service'],
      data: ['ipv4_addr', 'inet_service'],
    };
    const table = { family: 'ip', name: 'many', sets: [{ ...set, elements: [] }], chains: [] } as const;
    const elements = Array.from({ length: 20_000 }, (_, i) => ({
      key: [ip('11.0.0.0').plus(i) ?? ip('0.0.0.0'), 80],
      data: [ip('9.0.1.3'), 8080],
    }));
    await nft.replace(table);
    const before = await nft.generation();
    await nft.change(table, [{ set, remove: [], add: elements }]);
    expect(await nft.generation()).toBe(before + 1);
    expect(sorted(await nft.elements(table, set))).toEqual(sorted(elements));
    const broken = [...elements, { key: [ip('12.0.0.0'), 1] }];
    await expect(nft.change(table, [{ set, remove: broken, add: [] }])).rejects.toSatisfy((error) =>
      isErrno(error, 'ENOENT'),
    );
    expect(await nft.elements(table, set)).toHaveLength(elements.length);
  });

  it('reads a large set again after a reader that threw in the middle of it', async () => {
    const set: NftSet = { name: 's', key: ['ipv4_addr'] };
    const elements = Array.from({ length: 5_000 }, (_, i) => ({ key: [ip('11.0.0.0').plus(i) ?? ip('::')] }));
    const table = { family: 'inet', name: 'large', sets: [{ ...set, elements }], chains: [] } as const;
    await nft.replace(table);
    for (const stopAt of [1, 3_000]) {
      let taken = 0;
      const read = nft.readPacked(table, 's', {
        restart: () => undefined,
        take: () => {
          if (++taken === stopAt) throw new Error('enough');
          return true;
        },
      });
      await expect(read).rejects.toThrow('enough');
      expect((await nft.packed(table, 's'))?.elements.size).toBe(elements.length);
    }
  });

  it('tells by the fingerprint every edit of rules, chains, sets and anonymous elements, and nothing else', async () => {
    const table = {
      family: 'inet',
      name: 'edited',
      sets: [{ name: 's', key: ['ipv4_addr'], elements: [{ key: [ip('9.0.0.1')] }] }],
      chains: [
        {
          name: 'c',
          base: { type: 'filter', hook: 'output', priority: 0 },
          rules: ['tcp dport { 80, 443 } counter accept', 'meta mark vmap { 1 : accept, 2 : drop }'],
        },
      ],
    } as const satisfies NftTable;
    const wanted = await nft.replace(table);
    for (const harmless of [
      'reset counters',
      'add element inet edited s { 9.0.0.2 }',
      'add table inet elsewhere; add chain inet elsewhere c; add rule inet elsewhere c accept',
    ]) {
      await nft.run(harmless);
      expect(await nft.fingerprint(table), harmless).toBe(wanted);
    }
    for (const edit of [
      'add rule inet edited c accept',
      'insert rule inet edited c drop',
      'flush chain inet edited c',
      'add chain inet edited d',
      'chain inet edited c { policy drop; }',
      'add set inet edited t { type ipv4_addr; }',
      'add table inet edited { flags dormant; }',
      'flush chain inet edited c; add rule inet edited c tcp dport { 80, 444 } counter accept; add rule inet edited c meta mark vmap { 1 : accept, 2 : drop }',
      'flush chain inet edited c; add rule inet edited c tcp dport { 80, 443 } counter accept; add rule inet edited c meta mark vmap { 1 : drop, 2 : drop }',
    ]) {
      await nft.run(edit);
      expect(await nft.fingerprint(table), edit).not.toBe(wanted);
      expect(await nft.replace(table), edit).toBe(wanted);
    }
  });

  it('names the program and the remedy when there is no nft', async () => {
    const missing = createNft({}, { program: '/nonexistent/nft' });
    try {
      await expect(missing.run('list ruleset')).rejects.toMatchObject({
        code: 'unavailable',
        remedy: 'install the nftables package',
      });
    } finally {
      missing.close();
    }
  });

  it('gives up on an nft that hangs', async () => {
    const directory = mkdtempSync('/tmp/portolan-nft-');
    const program = join(directory, 'nft');
    writeFileSync(program, '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 });
    const hanging = createNft({}, { program, timeoutMs: 50 });
    try {
      await expect(hanging.list([])).rejects.toThrow('killed by SIGKILL');
    } finally {
      hanging.close();
      rmSync(directory, { recursive: true });
    }
  });

  it('says the first line of what nft says', async () => {
    await expect(nft.run('add rule inet nowhere c accept')).rejects.toSatisfy((error) =>
      isErrno(error, 'ENOENT'),
    );
    await expect(nft.run('nonsense')).rejects.toThrow(/syntax error/);
  });
});
