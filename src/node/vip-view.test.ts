import { describe, expect, it } from 'vitest';
import { ip } from '../base/ip.ts';
import { memoryLog } from '../base/log.ts';
import { createApp } from '../http/server.ts';
import { agentConfig } from '../model/config.ts';
import type { NodeId } from '../model/names.ts';
import { FakeExchange } from './exchange-fake.ts';
import { RecordView } from './record-view.ts';
import { addVipRoutes } from './vip-api.ts';
import { hostAddresses, overlaySpaces } from './vip-reserved.ts';
import { VipView } from './vip-view.ts';

const A = `n${'a'.repeat(25)}` as NodeId;
const config = agentConfig.parse({}).vips;

const container = (id: string, address: string, labels: Record<string, string>) => ({
  ...{ container: id, ifname: 'eth0', network: 'dcos', source: 'cni' },
  ...{ addresses: [`${address}/24`], ports: [], labels },
});

function world() {
  const exchange = new FakeExchange();
  const log = memoryLog();
  const records = new RecordView({ exchange, log }, { onChange: () => undefined });
  const view = new VipView({ records, log }, { config });
  exchange.put(`node/${A}/node`, {
    ...{ name: 'h1', address: '10.0.0.11', gossip_port: 1, api_port: 2, role: 'agent' },
  });
  const run = (id: string, address: string, labels: Record<string, string>): void =>
    exchange.put(`node/${A}/endpoint/${id}/eth0`, container(id, address, labels));
  const app = createApp({ log });
  const more = async () => new Map([['tcp/web.marathon:80', { connections: 5 }]]);
  addVipRoutes(app, { view, more });
  return { exchange, log, records, view, run, app };
}

describe('VipView', () => {
  it('lists VIPs as DC/OS did, with an ETag that stays until they change', async () => {
    const { run, app } = world();
    run('c1', '9.0.1.2', { VIP_0: 'web:80', VIP_1: '1.2.3.4:80' });
    const first = await app.request('/v1/vips');
    expect(await first.json()).toEqual([
      { vip: '1.2.3.4:80', protocol: 'tcp', backend: [{ ip: '9.0.1.2', port: 80 }] },
      {
        vip: 'web.marathon.l4lb.thisdcos.directory:80',
        protocol: 'tcp',
        backend: [{ ip: '9.0.1.2', port: 80 }],
      },
    ]);
    const etag = first.headers.get('etag') ?? '';
    const again = (tags = etag): Promise<Response> =>
      Promise.resolve(app.request('/v1/vips', { headers: { 'if-none-match': tags } }));
    for (const tags of [etag, `W/${etag}`, `"older", ${etag}`, '*'])
      expect((await again(tags)).status, tags).toBe(304);
    run('c2', '9.0.1.3', { VIP_0: 'web:80' });
    expect((await again()).status).toBe(200);
  });

  it('finds a VIP by any of its names and says more of it', async () => {
    const { run, app, view } = world();
    run('c1', '9.0.1.2', { VIP_0: 'web:80' });
    const addressOf = (name: string): string => view.addressesOf(name).join(' ');
    const address = addressOf('web.marathon.l4lb.thisdcos.directory');
    const refs = ['web:80', 'web.marathon:80', 'web.marathon.l4lb.thisdcos.directory:80', `${address}:80`];
    expect(refs.slice(1, 3).map((ref) => addressOf(ref.replace(':80', '')))).toEqual([address, address]);
    expect(addressOf('web')).toBe(address);
    expect(addressOf('other')).toBe('');
    expect(view.addressesAt('web', 80, 'tcp').join(' ')).toBe(address);
    expect([view.addressesAt('web', 81, 'tcp'), view.addressesAt('web', 80, 'udp')]).toEqual([[], []]);
    for (const ref of [...refs, 'web', 'web.marathon']) {
      const answer = await app.request(`/v1/vips/inspect?vip=${ref}`);
      expect(await answer.json()).toMatchObject({ vips: [{ id: 'tcp/web.marathon:80', connections: 5 }] });
    }
    expect((await app.request('/v1/vips/inspect?vip=other:1')).status).toBe(404);
    for (const wrong of ['', 'shop:', 'shop:http', 'shop:0', 'shop:70000', '[fd01::5]:x'])
      expect((await app.request(`/v1/vips/inspect?vip=${wrong}`)).status, wrong).toBe(400);
  });

  it('logs a label that does not hold once, and shows it', async () => {
    const { exchange, run, app, log } = world();
    run('c1', '9.0.1.2', { VIP_0: 'nonsense' });
    run('c2', '9.0.1.3', { VIP_0: 'web:80' });
    const told = (): number =>
      log.lines.filter(({ message }) => message === 'A VIP label does not hold').length;
    expect(told()).toBe(1);
    // An app has its labels on all of its tasks.
    for (const id of ['d1', 'd2', 'd3']) run(id, '9.0.1.4', { VIP_0: 'x:0', 'portolan.name': 'app' });
    expect(told()).toBe(2);
    for (const id of ['d1', 'd2', 'd3']) exchange.drop(`node/${A}/endpoint/${id}/eth0`);
    expect(told()).toBe(2);
    run('d4', '9.0.1.4', { VIP_0: 'x:0', 'portolan.name': 'app' });
    expect(told()).toBe(3);
    exchange.drop(`node/${A}/endpoint/d4/eth0`);
    const all = (await (await app.request('/v1/vips/all')).json()) as { issues: unknown };
    expect(all.issues).toEqual([
      {
        label: 'VIP_0',
        value: 'nonsense',
        problem: 'has no port: write NAME:PORT or ADDRESS:PORT',
        task: 'c1',
        name: 'c1',
        host: 'h1',
      },
    ]);
  });

  it('takes an IPv6 address that stands for an IPv4 one for no address of its own', () => {
    const { records } = world();
    const owners = hostAddresses(records).filter(({ prefix }) => prefix.contains(ip('::ffff:1.2.3.4')));
    expect(owners.map(({ owner }) => owner)).toEqual(['IPv4 (mapped addresses)']);
  });

  it.each([
    ['9.1.1.1', 'the overlay "dcos"'],
    ['10.0.0.11', 'the host h1'],
    ['44.128.0.9', 'the network 44.128.0.0/20 of VTEPs'],
    ['198.51.100.1', 'the DNS server of every host'],
    ['0.0.0.0', 'no host at all'],
    ['127.0.0.1', 'the loopback device'],
    ['224.0.0.1', 'multicast'],
  ])('refuses %s, which belongs to %s', (address, owner) => {
    const { exchange, log, records, run, view } = world();
    exchange.put(`node/${A}/overlay/dcos`, {
      ...{ overlay: 'dcos', space: '9.0.0.0/8', subnet: '9.0.1.0/24', vtep_ip: '44.128.0.1/20' },
      ...{ vtep_mac: '70:b3:d5:80:00:01', agent_ip: '10.0.0.11', grant_epoch: 1 },
    });
    run('c1', '9.0.1.2', { VIP_0: `${address}:80` });
    view.reserve([...overlaySpaces(records), ...hostAddresses(records)]);
    expect(view.find(`${address}:80`)[0]?.problem ?? view.vips()[0]?.problem).toContain(owner);
    expect(view.listed().vips).toEqual([]);
    // Once, whatever else comes.
    run('c2', '9.0.1.3', { VIP_0: `${address}:80` });
    const told = log.lines.filter(({ message }) => message === 'A VIP cannot be had');
    expect(told.map(({ fields }) => String(fields['problem']))).toEqual([expect.stringContaining(owner)]);
  });
});
