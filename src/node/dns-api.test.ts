import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { ip } from '../base/ip.ts';
import { memoryLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { taskHash } from '../dns/canonical.ts';
import { defaultTtls } from '../dns/zones.ts';
import type { NodeId } from '../model/names.ts';
import { addDnsRoutes, type DnsApiInit } from './dns-api.ts';
import { DnsNames } from './dns-names.ts';
import { FakeExchange } from './exchange-fake.ts';
import { RecordView } from './record-view.ts';

const A = `n${'a'.repeat(25)}` as NodeId;

function world(dialect: DnsApiInit['dialect']) {
  const exchange = new FakeExchange();
  const records = new RecordView({ exchange, log: memoryLog() }, { onChange: () => undefined });
  exchange.put(`node/${A}/node`, {
    ...{ name: 'h1', address: '10.0.0.11', gossip_port: 1, api_port: 5051, role: 'agent' },
  });
  const names = new DnsNames(
    { records, exchange, clock: new ManualClock(), metrics: createMetrics() },
    { listen: [ip('198.51.100.1')], ttls: defaultTtls, vipRanges: [], cluster: () => undefined },
  );
  const run = (id: string, change: object = {}): void =>
    exchange.put(`node/${A}/task/${id}`, {
      ...{ id, app: '/x', version: 'v', framework: 'marathon', name: 'x', runtime: 'mesos' },
      ...{ state: 'TASK_RUNNING', staged_at: 's', status_at: 's' },
      networks: [{ mode: 'container', name: 'dcos', addresses: ['9.0.1.3', 'fd01:b::3'] }],
      ports: [{ protocol: 'tcp', container_port: 8080, name: 'web' }],
      ...change,
    });
  const app = new Hono();
  addDnsRoutes(app, { names, records, dialect, version: '1.2.3', config: () => ({ ttl: 60 }) });
  const get = async (path: string): Promise<unknown> => (await app.request(path)).json();
  return { run, get };
}

/** The only task's name of its own. */
const canonical = (id: string): string => `x-${taskHash(id)}-${A}.marathon`;

describe('names over HTTP', () => {
  it('are hosts and services, ports as numbers in the words of DC/OS and as text in those of Mesos-DNS', async () => {
    for (const [dialect, port] of [
      ['dcos-dns', 8080],
      ['mesos-dns', '8080'],
    ] as const) {
      const { run, get } = world(dialect);
      run('x.1');
      const found = [
        { host: 'x.marathon.mesos.', ip: '9.0.1.3' },
        { host: 'x.marathon.mesos.', ip: 'fd01:b::3' },
      ];
      expect(await get('/v1/hosts/x.marathon.mesos')).toEqual(found);
      expect(await get('/v1/hosts/X.marathon.MESOS.')).toEqual(found);
      const host = `${canonical('x.1')}.mesos.`;
      for (const name of ['_x._tcp.marathon.mesos', '_web._x._tcp.marathon.mesos'])
        expect(await get(`/v1/services/${name}`)).toEqual([
          { service: `${name}.`, host, ip: '9.0.1.3', port },
        ]);
    }
  });

  it('are one row of nothing where there is nothing', async () => {
    const { get } = world('mesos-dns');
    expect(await get('/v1/hosts/nobody.marathon.mesos')).toEqual([{ host: '', ip: '' }]);
    expect(await get('/v1/hosts/example.com')).toEqual([{ host: '', ip: '' }]);
    expect(await get('/v1/services/_nobody._tcp.marathon.mesos')).toEqual([
      { service: '', host: '', ip: '', port: '' },
    ]);
  });

  it('are listed by framework and task', async () => {
    const { run, get } = world('mesos-dns');
    expect(await get('/v1/enumerate')).toEqual({ frameworks: [] });
    run('x.1');
    run('y.1', { framework: 'metronome', name: 'y', ports: [], networks: [] });
    run('gone.1', { framework: 'gone', state: 'TASK_FINISHED' });
    const own = canonical('x.1');
    const tail = `${taskHash('y.1')}-${A}.metronome`;
    expect(await get('/v1/enumerate')).toEqual({
      frameworks: [
        {
          name: 'marathon',
          tasks: [
            {
              name: 'x',
              id: 'x.1',
              records: [
                ...['x.marathon', own].flatMap((name) => [
                  { name: `${name}.mesos.`, host: '9.0.1.3', rtype: 'A' },
                  { name: `${name}.mesos.`, host: 'fd01:b::3', rtype: 'AAAA' },
                  { name: `${name}.slave.mesos.`, host: '10.0.0.11', rtype: 'A' },
                ]),
                ...['_x._tcp', '_web._x._tcp'].map((name) => ({
                  name: `${name}.marathon.mesos.`,
                  host: `${own}.mesos.:8080`,
                  rtype: 'SRV',
                })),
              ],
            },
          ],
        },
        {
          name: 'metronome',
          tasks: [
            {
              name: 'y',
              id: 'y.1',
              records: ['y.metronome', `y-${tail}`].flatMap((name) => [
                { name: `${name}.mesos.`, host: '10.0.0.11', rtype: 'A' },
                { name: `${name}.slave.mesos.`, host: '10.0.0.11', rtype: 'A' },
              ]),
            },
          ],
        },
      ],
    });
  });

  it('are transferred as a zone', async () => {
    const { run, get } = world('dcos-dns');
    run('x.1');
    const own = canonical('x.1');
    expect(await get('/v1/axfr')).toEqual({
      ...{ TTL: 60, Serial: 1, RefreshSeconds: 60, Domain: 'mesos' },
      ...{ Mname: 'ns1.mesos.', Rname: 'root.ns1.mesos.' },
      Records: {
        As: {
          'ns1.mesos.': ['198.51.100.1'],
          'slave.mesos.': ['10.0.0.11'],
          'x.marathon.mesos.': ['9.0.1.3'],
          [`${own}.mesos.`]: ['9.0.1.3'],
          'x.marathon.slave.mesos.': ['10.0.0.11'],
          [`${own}.slave.mesos.`]: ['10.0.0.11'],
        },
        AAAAs: { 'x.marathon.mesos.': ['fd01:b::3'], [`${own}.mesos.`]: ['fd01:b::3'] },
        SRVs: {
          '_slave._tcp.mesos.': ['slave.mesos.:5051'],
          '_x._tcp.marathon.mesos.': [`${own}.mesos.:8080`],
          '_web._x._tcp.marathon.mesos.': [`${own}.mesos.:8080`],
        },
      },
    });
  });

  it('are all there, however many', async () => {
    const { run, get } = world('dcos-dns');
    for (let i = 0; i < 300; i++) run(`x${i}.1`, { name: `x${i}` });
    const rows = (await get('/v1/records')) as { name: string; host: string; rtype: string }[];
    const { Records } = (await get('/v1/axfr')) as { Records: { As: object } };
    const { frameworks } = (await get('/v1/enumerate')) as { frameworks: { tasks: object[] }[] };
    for (let i = 0; i < 300; i++) {
      const name = `x${i}.marathon.mesos.`;
      expect(rows).toContainEqual({ name, host: '9.0.1.3', rtype: 'A' });
      expect(Records.As).toHaveProperty([name], ['9.0.1.3']);
    }
    expect(new Set(rows.map(({ rtype }) => rtype))).toEqual(new Set(['A', 'AAAA', 'SRV']));
    expect(frameworks[0]?.tasks.length).toBe(300);
  });

  it('say who speaks', async () => {
    expect(await world('dcos-dns').get('/v1/version')).toEqual({ Service: 'dcos-dns', Version: '1.2.3' });
    expect(await world('mesos-dns').get('/v1/version')).toEqual({ Service: 'Mesos-DNS', Version: '1.2.3' });
    expect(await world('mesos-dns').get('/v1/config')).toEqual({ ttl: 60 });
  });
});
