import { describe, expect, it } from 'vitest';
import type { Endpoint } from './endpoint.ts';
import { plainTask } from './task-view.ts';

function endpoint(over: Partial<Endpoint> = {}): Endpoint {
  return {
    container: 'c1',
    ifname: 'eth0',
    network: 'dcos',
    source: 'cni',
    addresses: ['9.0.1.3/24'],
    ports: [],
    labels: {},
    ...over,
  };
}

const published = (hostPort: number, containerPort: number, protocol: 'tcp' | 'udp' | 'sctp' = 'tcp') => ({
  hostPort,
  containerPort,
  protocol,
});

describe('plainTask', () => {
  it('is named by its label, else by the name its runtime gave it, else by its id', () => {
    expect(plainTask([endpoint()]).name).toBe('c1');
    expect(plainTask([endpoint({ name: 'web' })]).name).toBe('web');
    const labels = { 'portolan.name': 'shop', 'portolan.framework': 'other' };
    expect(plainTask([endpoint({ name: 'web', labels })])).toMatchObject({
      name: 'shop',
      framework: 'other',
    });
    expect(plainTask([endpoint()]).framework).toBe('marathon');
  });

  it('has the addresses of all its interfaces', () => {
    const task = plainTask([endpoint(), endpoint({ network: 'dcos6', addresses: ['fd01:b::3/80'] })]);
    expect(task.networks).toEqual([
      { mode: 'container', name: 'dcos', addresses: ['9.0.1.3'] },
      { mode: 'container', name: 'dcos6', addresses: ['fd01:b::3'] },
    ]);
  });

  it.each<[string, Record<string, string>, Endpoint['ports'], object]>([
    [
      'that of its label',
      { VIP_0: 'a:80', VIP_0_PORT: '53/udp' },
      [published(1, 2)],
      { protocol: 'udp', container_port: 53 },
    ],
    [
      'that of its label, in any case',
      { VIP_0: 'a:80', VIP_0_port: '53/udp' },
      [published(1, 2)],
      { protocol: 'udp', container_port: 53 },
    ],
    [
      'the only one published',
      { VIP_0: 'a:80' },
      [published(9000, 8080)],
      { protocol: 'tcp', container_port: 8080 },
    ],
    [
      'the only one published, by its protocol',
      { VIP_0: 'a:80' },
      [published(9, 53, 'udp')],
      { protocol: 'udp', container_port: 53 },
    ],
    [
      "the VIP's own where several are published",
      { VIP_0: 'a:80' },
      [published(1, 2), published(3, 4)],
      { protocol: 'tcp', container_port: 80 },
    ],
    [
      "the VIP's own where none is published",
      { VIP_0: 'fd01::5:80' },
      [],
      { protocol: 'tcp', container_port: 80 },
    ],
  ])('leads a VIP to %s', (_name, labels, ports, expected) => {
    const task = plainTask([endpoint({ labels, ports })]);
    expect(task.ports.find((port) => 'VIP_0' in port.labels)).toMatchObject(expected);
  });

  it('keeps what cannot be read with its label, for whoever reports it', () => {
    const labels = { VIP_0: 'a:80', VIP_0_PORT: 'x', VIP_1: 'nonsense' };
    expect(plainTask([endpoint({ labels })]).ports).toEqual([
      { protocol: 'tcp', labels: { VIP_0: 'a:80', VIP_0_PORT: 'x' } },
      { protocol: 'tcp', labels: { VIP_1: 'nonsense' } },
    ]);
  });

  it('has one port with all its VIPs, and lists what is published beside it', () => {
    const labels = { VIP_0: 'a:80', VIP_1: 'b:81' };
    const ports = [published(9000, 8080), published(9001, 8080), published(7, 7, 'sctp')];
    expect(plainTask([endpoint({ labels, ports })]).ports).toEqual([
      { protocol: 'tcp', container_port: 8080, labels },
      { protocol: 'tcp', host_port: 9000, labels: {} },
      { protocol: 'tcp', host_port: 9001, labels: {} },
    ]);
  });

  it("leads a VIP to the host's port in the host's own network", () => {
    const labels = { VIP_0: 'a:90', VIP_0_PORT: '8090/udp', VIP_1: 'b:91', VIP_2: 'c:none' };
    const task = plainTask([
      endpoint({ network: 'host', mode: 'host', source: 'docker', addresses: [], labels, ports: [] }),
    ]);
    expect(task.networks).toEqual([{ mode: 'host', name: 'host', addresses: [] }]);
    expect(task.ports).toEqual([
      { protocol: 'udp', host_port: 8090, labels: { VIP_0: 'a:90', VIP_0_PORT: '8090/udp' } },
      { protocol: 'tcp', host_port: 91, labels: { VIP_1: 'b:91' } },
      { protocol: 'tcp', labels: { VIP_2: 'c:none' } },
    ]);
  });

  describe("on a bridge of Docker's own", () => {
    const bridged = (labels: Record<string, string>, ports: Endpoint['ports']) =>
      plainTask([
        endpoint({ network: 'bridge', mode: 'bridge', source: 'docker', addresses: [], labels, ports }),
      ]);

    it('leads a VIP to where the port is published', () => {
      const labels = { VIP_0: 'a:90', VIP_0_PORT: '80', VIP_1: 'b:91', VIP_1_PORT: '53/udp' };
      const task = bridged(labels, [published(8080, 80), published(5353, 53, 'udp')]);
      expect(task.networks).toEqual([{ mode: 'bridge', name: 'bridge', addresses: [] }]);
      expect(task.ports).toEqual([
        { protocol: 'tcp', container_port: 80, host_port: 8080, labels: { VIP_0: 'a:90', VIP_0_PORT: '80' } },
        {
          protocol: 'udp',
          container_port: 53,
          host_port: 5353,
          labels: { VIP_1: 'b:91', VIP_1_PORT: '53/udp' },
        },
      ]);
      expect(bridged({ VIP_0: 'a:90' }, [published(8080, 80)]).ports).toMatchObject([{ host_port: 8080 }]);
    });

    it('leads it nowhere if the port is not published', () => {
      const labels = { VIP_0: 'a:90', VIP_0_PORT: '81' };
      expect(bridged(labels, [published(8080, 80)]).ports).toEqual([
        { protocol: 'tcp', container_port: 80, host_port: 8080, labels: {} },
        { protocol: 'tcp', labels },
      ]);
    });
  });
});
