import { describe, expect, it } from 'vitest';
import {
  judgeCertificate,
  judgeClock,
  judgeKernel,
  judgeMasters,
  judgeNodes,
  judgeOverlays,
  judgePort,
  judgeRegistration,
} from './doctor-judge.ts';

describe('the doctor', () => {
  it('warns of a clock that is off, by how much and against whom', () => {
    expect(judgeClock([{ of: 'a:1', skewMs: 900 }])).toMatchObject({ verdict: 'ok' });
    const off = [
      { of: 'a:1', skewMs: 3_000 },
      { of: 'b:1', skewMs: -61_400 },
    ];
    expect(judgeClock(off)).toMatchObject({ verdict: 'warning', found: '61.4 s ahead of b:1' });
    expect(judgeClock(off.slice(0, 1))).toMatchObject({ verdict: 'warning', found: '3.0 s behind a:1' });
    expect(judgeClock([])).toMatchObject({ verdict: 'warning', found: 'nobody to compare with' });
  });

  it('tells a port of ours from one that somebody else has', () => {
    const port = { name: 'vxlan', protocol: 'udp', port: 64_000 } as const;
    for (const state of ['free', 'ours'] as const)
      expect(judgePort({ ...port, state })).toMatchObject({ verdict: 'ok' });
    expect(judgePort({ ...port, state: 'taken' })).toMatchObject({
      verdict: 'failed',
      found: 'another program has UDP 64000',
    });
    expect(judgePort({ ...port, state: 'silent' })).toMatchObject({ verdict: 'failed' });
    expect(judgePort({ name: 'api', protocol: 'tcp', port: 5_051, state: 'taken' }).remedy).toContain(
      'http_port',
    );
    const beats = { name: 'beats', protocol: 'udp', port: 62_501 } as const;
    for (const state of ['silent', 'taken'] as const)
      expect(judgePort({ ...beats, state })).toMatchObject({ verdict: 'warning' });
  });

  it('warns of a certificate that should have been renewed, before it ends', () => {
    const certificate = { expires: '2026-03-31T00:00:00Z', renews: '2026-03-01T00:00:00Z' };
    const judge = (now: string) => judgeCertificate(certificate, Date.parse(now));
    expect(judge('2026-03-02T00:00:00Z')).toMatchObject({
      verdict: 'ok',
      found: `until ${certificate.expires}`,
    });
    expect(judge('2026-03-05T00:00:00Z')).toMatchObject({
      verdict: 'warning',
      found: `ends ${certificate.expires}, and could not be renewed since ${certificate.renews}`,
    });
    expect(judge('2026-04-01T00:00:00Z')).toMatchObject({ verdict: 'failed' });
    expect(judgeCertificate(undefined, 0)).toMatchObject({ verdict: 'failed' });
  });

  it('says why the agent is not registered', () => {
    expect(judgeRegistration({ registered: true })).toMatchObject({ verdict: 'ok' });
    const registration = { error: 'no space left on device' };
    expect(judgeRegistration({ registered: false, registration })).toMatchObject({
      verdict: 'warning',
      found: 'not registered: no space left on device',
    });
  });

  it('names what the kernel refuses', () => {
    const last = { failures: ['route x: no such device'], faults: ['device m-x exists: remove it'] };
    expect(judgeKernel({ applied: true })).toMatchObject({ verdict: 'ok' });
    expect(judgeKernel({ applied: false, reconciler: { last } })).toMatchObject({
      verdict: 'warning',
      found: 'not as desired: device m-x exists: remove it and 1 more',
    });
    expect(judgeKernel({})).toMatchObject({ verdict: 'warning', found: 'not as desired' });
  });

  it('names masters that do not answer', () => {
    const answers = new Map([
      ['10.0.0.1:5050', true],
      ['10.0.0.2:5050', false],
    ]);
    expect(judgeMasters(answers)).toMatchObject({
      verdict: 'warning',
      found: '10.0.0.2:5050 does not answer',
    });
    expect(judgeMasters(new Map())).toMatchObject({ verdict: 'warning' });
  });

  it('names nodes that are unreachable from here or for others', () => {
    expect(judgeNodes([{ name: 'a', state: 'alive', unreachable_for: [] }])).toMatchObject({ verdict: 'ok' });
    const nodes = [
      { name: 'a', state: 'alive', unreachable_for: ['c'] },
      { name: 'b', state: 'unreachable', unreachable_for: ['a'] },
      { name: 'c', state: 'alive', unreachable_for: [] },
    ];
    expect(judgeNodes(nodes)).toMatchObject({ verdict: 'warning', found: 'unreachable: a (for c), b' });
  });
});

describe('overlays', () => {
  const info = { name: 'dcos', subnet: '9.0.0.0/8', prefix: 24, enabled: true };
  const backend = {
    vxlan: { vni: 1024, vtep_name: 'vtep1024', vtep_ip: '44.128.0.1/20', vtep_mac: '70:b3:d5:80:00:01' },
  };

  it('are named with the reason when they do not work on this host', () => {
    const error = 'Cannot use Docker network "dcos"';
    expect(judgeOverlays([{ info, backend, state: { status: 'STATUS_FAILED', error } }])).toEqual([
      { check: 'overlay dcos', verdict: 'failed', found: error, remedy: 'mend what it names' },
    ]);
    expect(judgeOverlays([{ info, backend, state: { status: 'STATUS_OK' } }])).toEqual([]);
  });

  it('that Docker cannot have are no fault', () => {
    const networks = [{ name: 'dcos6', state: 'unsupported', message: 'Not offered to Docker' }];
    expect(judgeOverlays([], { networks })).toMatchObject([{ check: 'docker dcos6', verdict: 'ok' }]);
  });
});
