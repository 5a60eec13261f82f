import packet from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ip, prefix } from '../base/ip.ts';
import { Answerer, NOT_OURS } from './answer.ts';
import { customRecords, masterRecords, ownRecords, vipRecords } from './cluster-names.ts';
import { readQuery } from './query.ts';
import type { DnsRecord } from './record.ts';
import { NameTable } from './table.ts';
import { writeRefusal } from './writer.ts';
import { Zones } from './zones.ts';

const table = new NameTable();
const corp = new Map([
  ['db', 'shop.marathon.dclb.thisdcos.directory'],
  ['again', 'db.corp.thisdcos.directory'],
  ['gone', 'nobody.marathon.mesos'],
  ['far', 'www.example.com'],
  ['round', 'round.corp.thisdcos.directory'],
]);
const custom = new Map([['corp.thisdcos.directory', corp]]);
const zones = new Zones({
  cluster: 'c7',
  reverse: [prefix('9.0.0.0/8'), prefix('fd01:c::/64')],
  custom: Array.from(custom.keys()),
});
const answerer = new Answerer({ names: table, zones: () => zones });
const address = (name: string, text: string, preferred = true): DnsRecord => ({
  name,
  ttl: 5,
  data: { type: ip(text).family === 4 ? 'A' : 'AAAA', address: ip(text) },
  preferred,
});

table.set(
  'own',
  ownRecords(['198.51.100.1', '198.51.100.2', '198.51.100.3', 'fd01:d::c633:6401'].map((text) => ip(text))),
);
table.set(
  'masters',
  masterRecords([
    { address: ip('10.0.0.1'), reachable: true, port: 5050 },
    { address: ip('10.0.0.2'), reachable: false, port: 5050 },
  ]),
);
table.set('custom', customRecords(custom));
table.set('vip', vipRecords({ name: 'shop.marathon', addresses: [ip('11.1.2.3'), ip('fd01:c::7')] }));
table.set(
  'many',
  Array.from({ length: 100 }, (_, i) => address('many.marathon.mesos', `9.0.1.${i + 1}`)),
);
table.set('web', [
  address('web.marathon.containerip.dcos.thisdcos.directory', '9.0.1.3'),
  address('web.marathon.containerip.dcos.thisdcos.directory', '9.0.2.3', false),
  address('x-abcde-s0.marathon.mesos', '9.0.1.3'),
  {
    name: '_x._tcp.marathon.mesos',
    ttl: 60,
    data: { type: 'SRV', target: 'x-abcde-s0.marathon.mesos', port: 8080 },
    preferred: true,
  },
  {
    name: '3.1.0.9.in-addr.arpa',
    ttl: 5,
    data: { type: 'PTR', target: 'web.marathon.containerip.dcos.thisdcos.directory' },
    preferred: true,
  },
]);

interface Asked {
  readonly length: number;
  readonly reply: packet.DecodedPacket & {
    readonly rcode: string;
    readonly answers: packet.Answer[];
    readonly additionals: packet.Answer[];
  };
  readonly raw: Buffer;
}

function ask(
  name: string,
  type: string,
  options: { limit?: number; edns?: number; id?: number } = {},
): Asked {
  const bytes = packet.encode({
    type: 'query',
    id: options.id ?? 0x1234,
    flags: packet.RECURSION_DESIRED,
    questions: [{ name, type: type as packet.RecordType, class: 'IN' }],
    additionals:
      options.edns === undefined
        ? []
        : [
            {
              name: '.',
              type: 'OPT',
              udpPayloadSize: options.edns,
              flags: 0,
              options: [],
              extendedRcode: 0,
              ednsVersion: 0,
              flag_do: false,
            } as never,
          ],
  });
  const query = readQuery(bytes, bytes.length);
  if (query === undefined) throw new Error('not a query');
  const out = Buffer.alloc(65_535);
  const length =
    query.rcode === 0
      ? answerer.answer(query, bytes, out, options.limit ?? query.udpBytes)
      : writeRefusal(bytes, query, out, 4096);
  const raw = out.subarray(0, Math.max(length, 12));
  return { length, raw, reply: packet.decode(raw) as Asked['reply'] };
}

const data = (asked: Asked): unknown[] =>
  asked.reply.answers.map((answer) => (answer as { data: unknown }).data);

describe('answers', () => {
  it('gives the address of a name, in the case it was asked in', () => {
    const { reply } = ask('Shop.MARATHON.l4lb.thisdcos.directory', 'A');
    expect(reply).toMatchObject({
      id: 0x1234,
      type: 'response',
      rcode: 'NOERROR',
      flag_aa: true,
      flag_rd: true,
      flag_ra: true,
      questions: [{ name: 'Shop.MARATHON.l4lb.thisdcos.directory' }],
      answers: [{ name: 'Shop.MARATHON.l4lb.thisdcos.directory', ttl: 5, data: '11.1.2.3' }],
    });
    expect(data(ask('shop.marathon.l4lb.thisdcos.directory', 'AAAA'))).toEqual(['fd01:c::7']);
  });

  it.each([
    'shop.marathon.dclb.thisdcos.directory',
    'shop.marathon.l4lb.thisdcos.global',
    'shop.marathon.dclb.thisdcos.global',
    'shop.marathon.l4lb.c7.dcos.directory',
    'shop.marathon.dclb.c7.dcos.directory',
  ])('knows the alias %s', (name) => {
    const asked = ask(name, 'A');
    expect(asked.reply.answers).toMatchObject([{ name, data: '11.1.2.3' }]);
  });

  it('has names of Mesos-DNS under thisdcos.directory too, and forgives ".*"', () => {
    expect(data(ask('leader.mesos.thisdcos.directory', 'A'))).toEqual(['10.0.0.1']);
    expect(data(ask('leader.*.mesos', 'A'))).toEqual(['10.0.0.1']);
    expect(data(ask('master0.mesos', 'A'))).toEqual(['10.0.0.1']);
    expect(data(ask('master1.mesos', 'A'))).toEqual(['10.0.0.2']);
    expect(data(ask('zk-1.zk', 'A'))).toEqual(['10.0.0.1']);
    expect(data(ask('zk-2.zk', 'A'))).toEqual(['10.0.0.2']);
    expect(ask('zk-3.zk', 'A').reply.rcode).toBe('NXDOMAIN');
  });

  it('tells of what cannot be reached only where there is nothing else', () => {
    expect(data(ask('web.marathon.containerip.dcos.thisdcos.directory', 'A'))).toEqual(['9.0.1.3']);
    table.set('dead', [address('dead.marathon.mesos', '9.0.9.9', false)]);
    expect(data(ask('dead.marathon.mesos', 'A'))).toEqual(['9.0.9.9']);
  });

  it('gives services with the addresses of their hosts', () => {
    const { reply } = ask('_x._tcp.marathon.mesos', 'SRV');
    expect(reply.answers).toMatchObject([
      { data: { priority: 0, weight: 1, port: 8080, target: 'x-abcde-s0.marathon.mesos' }, ttl: 60 },
    ]);
    expect(reply.additionals).toMatchObject([{ name: 'x-abcde-s0.marathon.mesos', data: '9.0.1.3' }]);
  });

  it('gives names of addresses, and says that an address of ours without one has none', () => {
    expect(data(ask('3.1.0.9.in-addr.arpa', 'PTR'))).toEqual([
      'web.marathon.containerip.dcos.thisdcos.directory',
    ]);
    expect(data(ask('3.2.1.11.in-addr.arpa', 'PTR'))).toEqual(['shop.marathon.l4lb.thisdcos.directory']);
    expect(ask('4.1.0.9.in-addr.arpa', 'PTR').reply).toMatchObject({
      rcode: 'NXDOMAIN',
      authorities: [{ name: '9.in-addr.arpa', type: 'SOA' }],
    });
  });

  it('tells "no such name" from "nothing of this type", both with the SOA', () => {
    const soa = {
      mname: 'ns.spartan',
      rname: 'support.mesosphere.com',
      serial: 1,
      refresh: 60,
      retry: 180,
      expire: 86_400,
      minimum: 1,
    };
    const nothing = ask('shop.marathon.l4lb.thisdcos.directory', 'SRV').reply;
    expect(nothing).toMatchObject({
      rcode: 'NOERROR',
      answers: [],
      authorities: [{ name: 'l4lb.thisdcos.directory', ttl: 1, data: soa }],
    });
    const missing = ask('nobody.marathon.l4lb.thisdcos.directory', 'A').reply;
    expect(missing).toMatchObject({
      rcode: 'NXDOMAIN',
      answers: [],
      authorities: [{ name: 'l4lb.thisdcos.directory', data: soa }],
    });
    // What has names below it is there.
    expect(ask('marathon.l4lb.thisdcos.directory', 'A').reply).toMatchObject({
      rcode: 'NOERROR',
      answers: [],
    });
    expect(ask('nobody.marathon.mesos', 'TXT').reply).toMatchObject({
      rcode: 'NXDOMAIN',
      authorities: [{ name: 'mesos', data: { mname: 'ns1.mesos', rname: 'root.ns1.mesos' } }],
    });
  });

  it('answers SOA, NS and ANY', () => {
    expect(ask('mesos', 'SOA').reply.answers).toMatchObject([{ type: 'SOA', data: { mname: 'ns1.mesos' } }]);
    const ns = ask('thisdcos.directory', 'NS').reply;
    expect(ns.answers).toMatchObject([{ type: 'NS', ttl: 3600, data: 'ns.spartan' }]);
    expect(ns.additionals).toMatchObject([{ data: '198.51.100.1' }, { data: 'fd01:d::c633:6401' }]);
    expect(data(ask('ready.spartan', 'ANY'))).toEqual(['127.0.0.1']);
    expect(data(ask('localhost', 'ANY'))).toEqual(expect.arrayContaining(['127.0.0.1', '::1', 'ns.spartan']));
  });

  it('follows the names of zones that the operator has made, as far as they are ours', () => {
    expect(ask('DB.corp.thisdcos.directory', 'A').reply.answers).toMatchObject([
      { name: 'DB.corp.thisdcos.directory', type: 'CNAME', data: 'shop.marathon.dclb.thisdcos.directory' },
      { name: 'shop.marathon.dclb.thisdcos.directory', type: 'A', data: '11.1.2.3' },
    ]);
    expect(data(ask('again.corp.thisdcos.directory', 'AAAA'))).toEqual([
      'db.corp.thisdcos.directory',
      'shop.marathon.dclb.thisdcos.directory',
      'fd01:c::7',
    ]);
    expect(data(ask('db.corp.thisdcos.directory', 'CNAME'))).toEqual([
      'shop.marathon.dclb.thisdcos.directory',
    ]);
    expect(ask('far.corp.thisdcos.directory', 'A').reply).toMatchObject({
      rcode: 'NOERROR',
      answers: [{ type: 'CNAME', data: 'www.example.com' }],
    });
    expect(ask('gone.corp.thisdcos.directory', 'A').reply).toMatchObject({
      rcode: 'NXDOMAIN',
      answers: [{ type: 'CNAME' }],
    });
    expect(ask('round.corp.thisdcos.directory', 'A').reply).toMatchObject({ rcode: 'SERVFAIL', answers: [] });
    expect(ask('nothing.corp.thisdcos.directory', 'A').reply).toMatchObject({
      rcode: 'NXDOMAIN',
      authorities: [{ name: 'corp.thisdcos.directory' }],
    });
    expect(answerer.resolve('db.corp.thisdcos.directory', 1)?.records).toHaveLength(2);
  });

  it('leaves other names to others', () => {
    for (const name of [
      'example.com',
      'directory',
      'arpa',
      'x.c8.dcos.directory',
      '1.0.0.10.in-addr.arpa',
      '',
    ])
      expect(ask(name === '' ? '.' : name, 'A').length, name).toBe(NOT_OURS);
  });

  it('begins with another address each time', () => {
    const firsts = new Set(
      Array.from({ length: 100 }, (_, id) => data(ask('many.marathon.mesos', 'A', { id, edns: 4096 }))[0]),
    );
    expect(firsts.size).toBe(100);
  });

  it('cuts what does not fit and says so; by TCP all is there', () => {
    const short = ask('many.marathon.mesos', 'A');
    expect(short.length).toBeLessThanOrEqual(512);
    expect(short.reply.flag_tc).toBe(true);
    expect(short.reply.answers.length).toBe(Math.floor((512 - 12 - 25) / 16));
    const edns = ask('many.marathon.mesos', 'A', { edns: 4096 });
    expect(edns.reply.flag_tc).toBe(false);
    expect(edns.reply.answers.length).toBe(100);
    expect(edns.reply.additionals).toMatchObject([{ type: 'OPT' }]);
    expect(ask('many.marathon.mesos', 'A', { limit: 65_535 }).reply.answers.length).toBe(100);
  });

  it('drops the additional section before answers', () => {
    const records = Array.from({ length: 7 }, (_, i) => `host-with-a-long-name-${i}.marathon.mesos`);
    table.set('srv', [
      ...records.map((target): DnsRecord => ({
        name: '_s._tcp.marathon.mesos',
        ttl: 60,
        data: { type: 'SRV', target, port: 80 },
        preferred: true,
      })),
      ...records.map((name, i) => address(name, `9.0.3.${i + 1}`)),
    ]);
    const { reply } = ask('_s._tcp.marathon.mesos', 'SRV');
    expect(reply.flag_tc).toBe(false);
    expect(reply.answers.length).toBe(7);
    expect(reply.additionals.length).toBeLessThan(7);
    expect(ask('_s._tcp.marathon.mesos', 'SRV', { edns: 4096 }).reply.additionals.length).toBe(8);
  });

  it('compresses names', () => {
    const { length } = ask('_x._tcp.marathon.mesos', 'SRV');
    // Header 12, question 28, SRV 2+10+6+27 (no pointers in it: RFC 2782), A 2+10+4.
    expect(length).toBe(12 + 28 + 45 + 16);
  });
});

describe('refusals', () => {
  it('refuses transfers, other classes and later versions of EDNS', () => {
    expect(ask('mesos', 'AXFR').reply.rcode).toBe('REFUSED');
    const bytes = packet.encode({
      type: 'query',
      questions: [{ name: 'version.bind', type: 'TXT', class: 'CH' }],
    });
    expect(readQuery(bytes, bytes.length)?.rcode).toBe(5);
  });

  it('gives answers and short packets no answer', () => {
    const bytes = packet.encode({ type: 'response', questions: [{ name: 'a.mesos', type: 'A' }] });
    expect(readQuery(bytes, bytes.length)).toBeUndefined();
    expect(readQuery(bytes, 11)).toBeUndefined();
  });

  it('refuses counts before it reads anything', () => {
    const bytes = Buffer.alloc(12, 0xff);
    bytes[2] = 0;
    expect(readQuery(bytes, 12)?.rcode).toBe(1);
  });

  it('refuses compression in a question, loops included', () => {
    for (const name of [
      [0xc0, 0x0c],
      [1, 0x61, 0xc0, 0x0c],
      [0xc0, 0x0e, 0xc0, 0x0c],
      [0x40, 0x61],
      [0x80],
    ]) {
      const bytes = Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name, 0, 1, 0, 1, 0, 1, 0, 1]);
      expect(readQuery(bytes, bytes.length)?.rcode, String(name)).toBe(1);
    }
  });

  it('refuses names that are too long', () => {
    const labels = Buffer.concat([...Array<Buffer>(32).fill(Buffer.from('\x07aaaaaaa'))]);
    const bytes = Buffer.concat([
      Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
      labels,
      Buffer.from([0, 0, 1, 0, 1]),
    ]);
    expect(readQuery(bytes, bytes.length)?.rcode).toBe(1);
  });
});

describe('whatever comes', () => {
  const out = Buffer.alloc(4096);
  const respond = (bytes: Buffer): number => {
    const query = readQuery(bytes, bytes.length);
    if (query === undefined) return 0;
    if (query.rcode !== 0) return writeRefusal(bytes, query, out, 4096);
    return answerer.answer(query, bytes, out, query.udpBytes);
  };

  it('answers random bytes or does not, within the limit', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(respond(Buffer.from(bytes))).toBeLessThanOrEqual(4096);
      }),
      { numRuns: 3000 },
    );
  });

  it('answers mutated queries with what others can read', () => {
    const names = [
      'shop.marathon.l4lb.thisdcos.directory',
      '_x._tcp.marathon.mesos',
      'many.marathon.mesos',
      'nobody.mesos',
    ];
    const base = names.map((name) =>
      packet.encode({
        type: 'query',
        questions: [{ name, type: 'SRV' }],
        additionals: [{ name: '.', type: 'OPT', udpPayloadSize: 1232, flags: 0, options: [] } as never],
      }),
    );
    const mutation = fc.tuple(fc.nat({ max: 80 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(
        fc.constantFrom(...base),
        fc.array(mutation, { maxLength: 6 }),
        fc.nat({ max: 90 }),
        (query, changes, cut) => {
          const bytes = Buffer.from(query.subarray(0, Math.max(0, query.length - Math.max(0, cut - 60))));
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          const length = respond(bytes);
          expect(length).toBeLessThanOrEqual(4096);
          if (length > 12) packet.decode(Buffer.from(out.subarray(0, length)));
        },
      ),
      { numRuns: 3000 },
    );
  });
});
