import { describe, expect, it } from 'vitest';
import { taskClaims, vipId } from './claims.ts';
import { fakeNode, fakeTask } from './fake.ts';

const named = { VIP_0: 'myservice:6666' };
const targets = (...parameters: Parameters<typeof taskClaims>): string[] =>
  taskClaims(...parameters).claims.map(
    ({ vip, backend }) =>
      `${vipId(vip)} -> ${backend.address}:${backend.port}${backend.weight === 0 ? ' drained' : ''}`,
  );
const host = { mode: 'host' as const, addresses: ['10.0.0.1'] };
const bridge = { mode: 'bridge' as const, addresses: ['172.17.0.5'] };
const overlay = { mode: 'container' as const, name: 'dcos', addresses: ['9.0.1.2', 'fd01:b::2'] };

describe('taskClaims', () => {
  it.each([
    [
      'host mode',
      { networks: [host] },
      { container_port: undefined, host_port: 31002 },
      ['10.0.0.1:31002'],
      ['10.0.0.1:31002'],
    ],
    ['bridge mode', { networks: [bridge] }, { host_port: 31002 }, ['10.0.0.1:31002'], ['172.17.0.5:80']],
    [
      'an overlay with a host port',
      { networks: [overlay] },
      { host_port: 31002 },
      ['10.0.0.1:31002'],
      ['9.0.1.2:80', '[fd01:b::2]:80'],
    ],
    [
      'an overlay without',
      { networks: [overlay] },
      {},
      ['9.0.1.2:80', '[fd01:b::2]:80'],
      ['9.0.1.2:80', '[fd01:b::2]:80'],
    ],
    [
      'the networks of its port',
      { networks: [overlay, { ...overlay, name: 'b', addresses: ['9.9.9.9'] }] },
      { networks: ['b'] },
      ['9.9.9.9:80'],
      ['9.9.9.9:80'],
    ],
  ])('leads to a task in %s from other hosts, and from its own', (_name, task, port, elsewhere, here) => {
    const view = fakeTask(1, named, { task: { ...task, ports: [] }, port: {} });
    const ports = [{ protocol: 'tcp' as const, container_port: 80, labels: named, ...port }];
    const with_ = { ...view, task: { ...view.task, ports } };
    const plain = (texts: string[]): string[] =>
      texts.map((text) =>
        text.replace('tcp/myservice.marathon:6666 -> ', '').replace(/^(fd01:b::2):80$/, '[$1]:80'),
      );
    expect(plain(targets(with_, fakeNode(2)))).toEqual(elsewhere);
    expect(plain(targets(with_, fakeNode(1)))).toEqual(here);
  });

  it.each([
    [{}, 1],
    [{ healthy: true, checked: true }, 1],
    [{ healthy: false, checked: true }, 0],
    [{ checked: true }, 0],
    [{ state: 'TASK_KILLING' as const }, 0],
    [{ draining: true }, 0],
    [{ state: 'TASK_STAGING' as const }, undefined],
    [{ state: 'TASK_FINISHED' as const }, undefined],
    [{ state: 'TASK_LOST' as const }, undefined],
  ])('gives a task of %j the weight %j', (task, weight) => {
    expect(taskClaims(fakeTask(1, named, { task }), undefined).claims[0]?.backend.weight).toBe(weight);
  });

  it('takes several VIPs of a port, and the same port said twice as one', () => {
    const view = fakeTask(1, {});
    const ports = [
      { protocol: 'tcp' as const, container_port: 80, labels: { VIP_0: 'a:1', VIP_1: '/b:2' } },
      { protocol: 'tcp' as const, container_port: 80, host_port: 31000, labels: { VIP_0: 'c:3' } },
      { protocol: 'udp' as const, container_port: 80, labels: { VIP_0: 'a:1' } },
    ];
    expect(targets({ ...view, task: { ...view.task, ports } }, undefined)).toEqual([
      'tcp/a.marathon:1 -> 10.0.0.1:31000',
      'tcp/b.marathon:2 -> 10.0.0.1:31000',
      'tcp/c.marathon:3 -> 10.0.0.1:31000',
      'udp/a.marathon:1 -> 9.0.1.2:80',
    ]);
  });

  it('leads an address only to addresses of its family', () => {
    const task = { networks: [overlay] };
    expect(targets(fakeTask(1, { VIP_0: '1.2.3.4:80', VIP_1: 'fd01::5:81' }, { task }), undefined)).toEqual([
      'tcp/1.2.3.4:80 -> 9.0.1.2:80',
      'tcp/[fd01::5]:81 -> fd01:b::2:80',
    ]);
  });

  it('tells what it cannot do, by label, and does the rest', () => {
    const view = fakeTask(1, { VIP_0: 'no port', VIP_1: 'fd01::5:81', VIP_2: 'ok:1' });
    const { claims, issues } = taskClaims(view, undefined);
    expect(claims.map(({ vip }) => vipId(vip))).toEqual(['tcp/ok.marathon:1']);
    expect(issues.map(({ label, problem, host: at }) => [label, problem, at])).toEqual([
      ['VIP_0', 'has no port: write NAME:PORT or ADDRESS:PORT', 'h1'],
      ['VIP_1', 'the task has no IPv6 address for it', 'h1'],
    ]);
    const nameless = fakeTask(1, named, { task: { framework: '///' } });
    expect(taskClaims(nameless, undefined).issues[0]?.problem).toMatch(/framework's name/);
    const portless = fakeTask(1, named, { port: { container_port: undefined } });
    expect(taskClaims(portless, undefined).issues[0]?.problem).toMatch(/no address and port/);
    const part = 'a'.repeat(60);
    const long = fakeTask(1, { VIP_0: `${[part, part, part, part].join('.')}:80`, VIP_1: 'ok:1' });
    const { claims: held, issues: tooLong } = taskClaims(long, undefined);
    expect(held.map(({ vip }) => vipId(vip))).toEqual(['tcp/ok.marathon:1']);
    expect(tooLong[0]?.problem).toMatch(/longer than a DNS name may be/);
  });
});
