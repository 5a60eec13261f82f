import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { memoryLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { kernelErrorOf } from '../kernel/errno.ts';
import { LIBERAL_SYSCTL, type FastPathLinks } from '../kernel/fastpath/fastpath.ts';
import { memoryJournal } from '../store/memory-journal.ts';
import type { AttachmentRecord } from './attachments-record.ts';
import { FastPaths } from './fast-path.ts';

const record = (hostLink: string, mac: string) => ({ hostLink, mac }) as AttachmentRecord;

function makeBed(
  init: { readonly enabled?: boolean; readonly sysctl?: string | undefined; readonly fails?: boolean } = {},
) {
  const clock = new ManualClock();
  const log = memoryLog();
  const metrics = createMetrics();
  const journal = memoryJournal();
  const sets: FastPathLinks[] = [];
  const attachments = [record('pc1', '02:00:09:00:00:02')];
  let sysctl = 'sysctl' in init ? init.sysctl : '0';
  let opened = 0;
  const paths = new FastPaths(
    {
      ...{ clock, log, metrics, journal },
      kernel: {
        readSysctl: (key) => Promise.resolve(key === LIBERAL_SYSCTL ? sysctl : undefined),
        writeSysctl: (_key, value) => {
          sysctl = value;
          return Promise.resolve();
        },
      },
      open: () => {
        opened += 1;
        if (init.fails === true) throw kernelErrorOf('load BPF program', 'EPERM');
        return {
          set: (links) => void sets.push(links),
          counts: () => ({ passed: 5, learnt: 2 }),
          close: () => void (opened -= 1),
        };
      },
    },
    { enabled: init.enabled ?? true, attachments: () => attachments, tunnels: () => ['vtep1024'] },
  );
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    for (let i = 0; i < 5; i++) await turn();
  };
  const refresh = (): Promise<void> => {
    paths.refresh();
    return pass(50);
  };
  const write = (value: string): void => {
    sysctl = value;
  };
  return {
    ...{ paths, refresh, pass, write, sets, attachments, log, metrics, journal },
    sysctl: () => sysctl,
    opened: () => opened,
  };
}

describe('FastPaths', () => {
  it('is at the containers that there are, and at the tunnel', async () => {
    const { refresh, sets, attachments, paths, metrics } = makeBed();
    await refresh();
    attachments.push(record('pc2', '02:00:09:00:00:03'));
    await refresh();
    expect(sets.map(({ ports }) => ports.map(({ link }) => link))).toEqual([['pc1'], ['pc1', 'pc2']]);
    expect(sets[0]).toEqual({ ports: [{ link: 'pc1', mac: '02:00:09:00:00:02' }], entries: ['vtep1024'] });
    expect(paths.status()).toEqual({ state: 'on', passed: 5, learnt: 2 });
    expect(await metrics.snapshot()).toMatchObject({ portolan_fast_path_passed_total: 5 });
  });

  it('looks once however often it is told within a moment', async () => {
    const { paths, refresh, sets } = makeBed();
    paths.refresh();
    paths.refresh();
    await refresh();
    expect(sets).toHaveLength(1);
  });

  it('keeps what connection tracking was told before, for whoever uninstalls', async () => {
    const { refresh, sysctl, journal } = makeBed();
    await refresh();
    expect(sysctl()).toBe('1');
    expect(journal.get(`sysctl/${LIBERAL_SYSCTL}`)).toEqual({ before: '0', ours: '1' });
  });

  it('has connection tracking judge no windows again when somebody else has changed that', async () => {
    const { refresh, write, sysctl, pass, log } = makeBed();
    await refresh();
    write('0');
    await pass(5_000);
    expect(sysctl()).toBe('1');
    expect(log.lines.map(({ message }) => message)).toContain('Repaired sysctl');
  });

  it('waits for connection tracking to be there', async () => {
    const { refresh, pass, write, sets } = makeBed({ sysctl: undefined });
    await refresh();
    expect(sets).toEqual([]);
    write('0');
    await pass(5_000);
    expect(sets).toHaveLength(1);
  });

  it('does without where the kernel refuses, and says so once', async () => {
    const { refresh, pass, paths, log, opened, sysctl } = makeBed({ fails: true });
    await refresh();
    await refresh();
    await pass(60_000);
    expect(sysctl()).toBe('0');
    expect(opened()).toBe(1);
    expect(log.lines.filter(({ message }) => message.startsWith('There is no fast path'))).toHaveLength(1);
    expect(paths.status()).toMatchObject({ state: 'unavailable', reason: expect.stringContaining('EPERM') });
  });

  it('touches nothing where it is not wanted', async () => {
    const { refresh, sysctl, opened, paths } = makeBed({ enabled: false });
    await refresh();
    expect([sysctl(), opened()]).toEqual(['0', 0]);
    expect(paths.status()).toEqual({ state: 'disabled' });
  });

  it('is gone when it is closed, and does not come back', async () => {
    const { refresh, paths, opened } = makeBed();
    await refresh();
    paths.close();
    await refresh();
    expect(opened()).toBe(0);
  });
});
