/** The doctor's own health: on a machine that runs these tests every kernel feature works, so every probe must say so. */
import { describe, expect, it } from 'vitest';
import { preflight } from './preflight.ts';

describe('preflight', () => {
  it('finds every kernel feature that the tests beside it use', async () => {
    const verdicts = Object.fromEntries((await preflight()).map(({ check, verdict }) => [check, verdict]));
    for (const feature of [
      'root',
      'vxlan',
      'veth',
      'bridge',
      'nftables nat',
      'nftables virtual IPs',
      'conntrack notrack',
      'ipv6',
      'nft',
    ])
      expect(verdicts).toHaveProperty([feature], 'ok');
  });

  it('tries the fast path, which no host must have', async () => {
    const [fastPath] = (await preflight()).filter(({ check }) => check === 'fast path');
    expect(fastPath).toMatchObject({ verdict: 'ok', found: 'works' });
  });

  it('says what is missing, with a remedy, where a program is not there', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = '/nowhere';
    try {
      const failed = (await preflight()).filter(({ verdict }) => verdict === 'failed');
      expect(failed.map(({ check }) => check)).toContain('vxlan');
      for (const { remedy } of failed) expect(remedy).not.toBe('');
    } finally {
      process.env['PATH'] = path;
    }
  });
});
