import { describe, expect, it } from 'vitest';
import { agentConfig } from './config.ts';
import { parseConfig } from './config-file.ts';
import { parseUpstream } from './dns.ts';

const dns = (section: unknown): unknown => parseConfig(agentConfig, { dns: section }, 'agent.yaml').dns;

describe('the configuration of the DNS server', () => {
  it('has defaults', () => {
    expect(dns({})).toEqual({
      enabled: true,
      addresses: ['198.51.100.1', '198.51.100.2', '198.51.100.3', 'fd01:d::c633:6401'],
      port: 53,
      forward_zones: {},
      zones: {},
      host_addresses: [],
      ttl: 5,
      mesos_ttl: 60,
    });
  });

  it('reads servers with and without port', () => {
    const text = (given: string): string | undefined => {
      const found = parseUpstream(given);
      return found === undefined ? undefined : `${found.address} ${found.port}`;
    };
    expect(text('10.0.0.2')).toBe('10.0.0.2 53');
    expect(text('10.0.0.2:5353')).toBe('10.0.0.2 5353');
    expect(text('fd00::1')).toBe('fd00::1 53');
    expect(text('[fd00::1]:5353')).toBe('fd00::1 5353');
    for (const wrong of [
      '',
      'ns.example',
      '10.0.0.2:0',
      '10.0.0.2:70000',
      '[10.0.0.2]:53',
      '10.0.0.2:',
      '[fd00::1]',
    ])
      expect(text(wrong), wrong).toBeUndefined();
  });

  it.each<[object, string, string]>([
    [{ upstreams: ['ns.example'] }, 'dns.upstreams[0]', '"ns.example" is no server'],
    [{ forward_zones: { 'a..b': ['10.0.0.2'] } }, 'dns.forward_zones.a..b', '"a..b" is no zone'],
    [
      { forward_zones: { 'shop.mesos': ['10.0.0.2'] } },
      'dns.forward_zones.shop.mesos',
      'answered by Portolan itself',
    ],
    [{ zones: { 'corp.example': [] } }, 'dns.zones.corp.example', 'is no zone of one'],
    [
      { zones: { 'x.l4lb.thisdcos.directory': [] } },
      'dns.zones.x.l4lb.thisdcos.directory',
      'is made of what the cluster has',
    ],
    [
      {
        zones: {
          'corp.thisdcos.directory': [
            { name: 'a.b', value: 'x' },
            { name: 'A-B', value: 'y' },
          ],
        },
      },
      'dns.zones.corp.thisdcos.directory',
      '"a-b" is there twice',
    ],
    [
      { zones: { 'corp.thisdcos.directory': [{ name: 'db', value: 'a..b' }] } },
      'dns.zones.corp.thisdcos.directory[0].value',
      'is no name that it could lead to',
    ],
    [{ forward_zones: { corp: [] } }, 'dns.forward_zones.corp', 'Too small'],
    [{ addresses: ['198.51.100.1', '198.51.100.1'] }, 'dns.addresses', 'an address is there twice'],
    [{ addresses: ['nowhere'] }, 'dns.addresses[0]', 'nowhere'],
    [{ ttl: -1 }, 'dns.ttl', 'Too small'],
    [{ upstream: [] }, 'dns.upstream', 'unknown key'],
  ])('refuses %j', (section, field, problem) => {
    expect(() => dns(section)).toThrow(problem);
    try {
      dns(section);
    } catch (error) {
      expect(error).toMatchObject({ field });
    }
  });
});
