import { describe, expect, it } from 'vitest';
import { ip } from '../base/ip.ts';
import { upstreamText } from '../dns/upstreams.ts';
import { agentConfig } from '../model/config.ts';
import { DNS_ADDRESSES } from '../model/dns.ts';
import { customZones, dnsListen, dnsServes, forwardingRules, serversFor } from './dns-config.ts';

const config = (dns: object) => agentConfig.parse({ dns });
const texts = (listen: { readonly addresses: readonly object[] }): string[] => listen.addresses.map(String);

describe('the DNS section of the configuration', () => {
  it("serves the cluster's addresses, and those of the host that are named", () => {
    expect(texts(dnsServes(config({})))).toEqual([...DNS_ADDRESSES]);
    const master = config({ host_addresses: ['10.0.0.1', 'fd00::1'] });
    expect(texts(dnsServes(master))).toEqual([...DNS_ADDRESSES, '10.0.0.1', 'fd00::1']);
    // Which are the host's already, and not put on the device.
    expect(texts(dnsListen(master))).toEqual([...DNS_ADDRESSES]);
    expect(texts(dnsServes(config({ enabled: false, host_addresses: ['10.0.0.1'] })))).toEqual([]);
    expect(() => config({ host_addresses: ['10.0.0.1', '10.0.0.1'] })).toThrow('twice');
  });

  it('has zones of the operator by name, in lower case', () => {
    const zones = { 'Corp.thisdcos.directory.': [{ name: 'My_DB', value: 'db.Example.com.' }] };
    expect(customZones(config({ zones }))).toEqual(
      new Map([['corp.thisdcos.directory', new Map([['my-db', 'db.example.com']])]]),
    );
  });

  it('tells containers of the servers they have a way to', () => {
    const listen = dnsListen(config({}));
    expect(serversFor(listen, [ip('9.0.1.2')])).toEqual(DNS_ADDRESSES.slice(0, 3));
    expect(serversFor(listen, [ip('fd01:b::2')])).toEqual([DNS_ADDRESSES[3]]);
    expect(serversFor(listen, [])).toEqual([]);
  });

  it("asks the name servers of the host's resolv.conf, and never itself", () => {
    const text =
      'search x\nnameserver 198.51.100.1\nnameserver 10.0.0.1\nnameserver 10.9.9.9\nnameserver fe80::1%eth0\n';
    const asked = (dns: object): string[] => forwardingRules(config(dns), text).upstreams.map(upstreamText);
    expect(asked({})).toEqual(['10.0.0.1:53', '10.9.9.9:53']);
    expect(asked({ host_addresses: ['10.0.0.1'] })).toEqual(['10.9.9.9:53']);
    expect(asked({ upstreams: ['10.8.8.8:5353', '198.51.100.2'] })).toEqual(['10.8.8.8:5353']);
  });
});
