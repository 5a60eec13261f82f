import { describe, expect, it } from 'vitest';
import { FakeKernel } from './fake.ts';
import { SysctlMemory, type SysctlJournal } from './sysctl-memory.ts';

function memoryJournal(): SysctlJournal & { readonly held: Map<string, unknown> } {
  const held = new Map<string, unknown>();
  return {
    held,
    get: (key) => held.get(key),
    entries: (prefix) => [...held].filter(([key]) => key.startsWith(prefix)),
    write: async (changes) => {
      for (const [key, value] of Object.entries(changes))
        if (value === undefined) held.delete(key);
        else held.set(key, value);
    },
  };
}

const FORWARD = 'net/ipv4/ip_forward';
const FILTER = 'net/ipv4/conf/all/rp_filter';

describe('remembered sysctls', () => {
  it('are changed only where they differ, and put back', async () => {
    const namespace = new FakeKernel();
    const memory = new SysctlMemory({ namespace, journal: memoryJournal() });
    expect(await memory.ensure({ 'net.ipv4.ip_forward': '1', [FILTER]: '0' })).toEqual([FORWARD]);
    expect(await memory.ensure({ 'net.ipv4.ip_forward': '1' })).toEqual([]);
    expect(namespace.sysctls.get(FORWARD)).toBe('1');
    expect(await memory.restore()).toEqual([FORWARD]);
    expect(namespace.sysctls.get(FORWARD)).toBe('0');
    expect(await memory.restore()).toEqual([]);
  });

  it('keep the first value over a second run and over repairs', async () => {
    const namespace = new FakeKernel();
    const journal = memoryJournal();
    await new SysctlMemory({ namespace, journal }).ensure({ [FILTER]: '2' });
    namespace.sysctls.set(FILTER, '1');
    await new SysctlMemory({ namespace, journal }).ensure({ [FILTER]: '2' });
    await new SysctlMemory({ namespace, journal }).restore();
    expect(namespace.sysctls.get(FILTER)).toBe('0');
  });

  it('are left alone at the end when somebody else has set them since', async () => {
    const namespace = new FakeKernel();
    const memory = new SysctlMemory({ namespace, journal: memoryJournal() });
    await memory.ensure({ [FILTER]: '2' });
    namespace.sysctls.set(FILTER, '1');
    expect(await memory.restore()).toEqual([]);
    expect(namespace.sysctls.get(FILTER)).toBe('1');
  });

  it('are in the journal before they change', async () => {
    const namespace = new FakeKernel();
    const journal = memoryJournal();
    const write = journal.write.bind(journal);
    let seen: string | undefined;
    const watched: SysctlJournal = {
      ...journal,
      write: async (changes) => {
        seen ??= namespace.sysctls.get(FORWARD);
        await write(changes);
      },
    };
    await new SysctlMemory({ namespace, journal: watched }).ensure({ [FORWARD]: '1' });
    expect(seen).toBe('0');
    expect(journal.held.get(`sysctl/${FORWARD}`)).toEqual({ before: '0', ours: '1' });
  });

  it('that this kernel does not have are left out', async () => {
    const memory = new SysctlMemory({ namespace: new FakeKernel(), journal: memoryJournal() });
    expect(await memory.ensure({ 'net/ipv6/conf/none/forwarding': '1' })).toEqual([]);
  });
});
