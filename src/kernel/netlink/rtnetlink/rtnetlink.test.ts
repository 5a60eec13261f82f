/** What we write is what we read: requests and notifications have one layout. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InterfaceAddress, IpAddress, Prefix } from '../../../base/ip.ts';
import { macFromBytes } from '../../../base/mac.ts';
import type { Address, FdbEntry, Neighbour, NewLink, Route, Rule } from '../../types.ts';
import { ConnectionDecoder } from '../conntrack.ts';
import { NftEventDecoder, RouteEventDecoder } from '../events.ts';
import { forEachMessage, MessageWriter, type Message } from '../message.ts';
import { AddressDecoder, encodeAddress } from './address.ts';
import { encodeFdb, FdbDecoder } from './fdb.ts';
import { encodeLinkAdd, encodeLinkSet, LinkDecoder } from './link.ts';
import { encodeNeighbour, NeighbourDecoder } from './neighbour.ts';
import { encodeRoute, RouteDecoder } from './route.ts';
import { encodeRule, RuleDecoder } from './rule.ts';

const v4 = fc.nat(2 ** 32 - 1).map((value) => new IpAddress(4, BigInt(value)));
const v6 = fc.bigInt(0n, 2n ** 128n - 1n).map((value) => new IpAddress(6, value));
const address = fc.oneof(v4, v6);
const prefixOf = (addresses: fc.Arbitrary<IpAddress>, width: number): fc.Arbitrary<Prefix> =>
  fc.tuple(addresses, fc.integer({ min: 1, max: width })).map(([value, length]) => new Prefix(value, length));
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => macFromBytes(bytes));
const u32 = fc.nat(2 ** 32 - 1);
const link = fc.constant('vtep1024');
const nameOf = (index: number): string | undefined => (index === 7 ? 'vtep1024' : undefined);

/** Decodes the one message that `encode` writes. */
function through<T>(
  encode: (writer: MessageWriter) => void,
  decode: (buffer: Buffer, message: Message) => T | undefined,
): T | undefined {
  const writer = new MessageWriter(64);
  encode(writer);
  let value: T | undefined;
  forEachMessage(writer.bytes, writer.length, (message) => {
    value = decode(writer.bytes, message);
    return true;
  });
  return value;
}

describe('rtnetlink objects come back as they were written', () => {
  it('routes', () => {
    const decoder = new RouteDecoder();
    const routeOf = (addresses: fc.Arbitrary<IpAddress>, width: number): fc.Arbitrary<Route> =>
      fc.record({
        destination: fc.oneof(
          prefixOf(addresses, width),
          addresses.map((ip) => new Prefix(ip, 0)),
        ),
        table: u32.filter((table) => table !== 0),
        protocol: fc.nat(255),
        metric: u32,
        gateway: fc.option(addresses, { nil: undefined }),
        link,
        onlink: fc.boolean(),
      });
    fc.assert(
      fc.property(fc.oneof(routeOf(v4, 32), routeOf(v6, 128)), (route) => {
        const decoded = through(
          (writer) => encodeRoute(writer, 1, 'replace', route, 7),
          (buffer, message) => decoder.decode(buffer, message, nameOf),
        );
        expect(decoded).toEqual(route);
      }),
    );
  });

  it('addresses', () => {
    const decoder = new AddressDecoder();
    fc.assert(
      fc.property(fc.oneof(fc.tuple(v4, fc.nat(32)), fc.tuple(v6, fc.nat(128))), ([ip, length]) => {
        const value: Address = { link: 'vtep1024', address: new InterfaceAddress(ip, length) };
        const decoded = through(
          (writer) => encodeAddress(writer, 1, 'replace', value.address, 7),
          (buffer, message) => decoder.decode(buffer, message, nameOf),
        );
        expect(decoded).toEqual(value);
      }),
    );
  });

  it('rules', () => {
    const decoder = new RuleDecoder();
    const ruleOf = (family: 4 | 6, prefixes: fc.Arbitrary<Prefix>): fc.Arbitrary<Rule> =>
      fc.record({
        family: fc.constant(family),
        priority: u32,
        from: fc.option(prefixes, { nil: undefined }),
        to: fc.option(prefixes, { nil: undefined }),
        table: u32,
        protocol: fc.nat(255),
      });
    fc.assert(
      fc.property(fc.oneof(ruleOf(4, prefixOf(v4, 32)), ruleOf(6, prefixOf(v6, 128))), (rule) => {
        expect(
          through(
            (writer) => encodeRule(writer, 1, 'add', rule),
            (buffer, message) => decoder.decode(buffer, message),
          ),
        ).toEqual(rule);
      }),
    );
  });

  it('neighbours and forwarding entries', () => {
    const neighbours = new NeighbourDecoder();
    const entries = new FdbDecoder();
    const neighbour: fc.Arbitrary<Neighbour> = fc.record({
      link,
      address,
      mac: fc.option(mac, { nil: undefined }),
      permanent: fc.boolean(),
    });
    const entry: fc.Arbitrary<FdbEntry> = fc.record({
      link,
      mac,
      destination: address,
      permanent: fc.boolean(),
    });
    fc.assert(
      fc.property(neighbour, entry, (aNeighbour, anEntry) => {
        expect(
          through(
            (writer) => encodeNeighbour(writer, 1, 'replace', aNeighbour, 7),
            (buffer, message) => neighbours.decode(buffer, message, nameOf),
          ),
        ).toEqual(aNeighbour);
        expect(
          through(
            (writer) => encodeFdb(writer, 1, 'replace', anEntry, 7),
            (buffer, message) => entries.decode(buffer, message, nameOf),
          ),
        ).toEqual(anEntry);
      }),
    );
  });

  it('links', () => {
    const decoder = new LinkDecoder();
    const vxlan: fc.Arbitrary<Extract<NewLink, { kind: 'vxlan' }>> = fc.record({
      kind: fc.constant('vxlan'),
      vni: fc.nat(2 ** 24 - 1),
      local: address,
      port: fc.nat(65_535),
      learning: fc.boolean(),
    });
    const settings = fc.record({ up: fc.boolean(), mtu: u32, mac, group: u32 });
    fc.assert(
      fc.property(vxlan, settings, (details, chosen) => {
        const decoded = through(
          (writer) => encodeLinkAdd(writer, 1, 'vtep1024', details, chosen, {}),
          (buffer, message) => decoder.decode(buffer, message),
        );
        expect(decoded).toMatchObject({ name: 'vtep1024', details, ...chosen });
      }),
    );
  });

  it('changes of links', () => {
    const change = { alias: 'portolan', rename: 'm-dcos', master: 'br', up: false };
    const decoded = through(
      (writer) => encodeLinkSet(writer, 1, 7, change, { masterIndex: 9 }),
      (buffer, message) => new LinkDecoder().decode(buffer, message),
    );
    expect(decoded).toMatchObject({ index: 7, name: 'm-dcos', alias: 'portolan', masterIndex: 9, up: false });
  });
});

describe('decoders', () => {
  it('do not throw on arbitrary bytes', () => {
    const links = new LinkDecoder();
    const addresses = new AddressDecoder();
    const routes = new RouteDecoder();
    const rules = new RuleDecoder();
    const neighbours = new NeighbourDecoder();
    const fdb = new FdbDecoder();
    const events = new RouteEventDecoder();
    const nft = new NftEventDecoder();
    const connections = new ConnectionDecoder([{ address: new IpAddress(4, 0n) }]);
    const known = (): string => 'vtep1024';
    const types = fc.constantFrom(16, 17, 20, 21, 24, 25, 28, 29, 32, 33, 80, 0xa00, 0xa0c, 0xa0f, 99);
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 120 }),
        fc.constantFrom(2, 7, 10),
        types,
        (bytes, family, type) => {
          const buffer = Buffer.from(bytes);
          if (buffer.length > 0) buffer[0] = family;
          const message = { type, flags: 0, sequence: 0, portId: 0, start: 0, end: buffer.length };
          links.decode(buffer, message);
          addresses.decode(buffer, message, known);
          routes.decode(buffer, message, known);
          rules.decode(buffer, message);
          neighbours.decode(buffer, message, known);
          fdb.decode(buffer, message, known);
          events.decode(buffer, message, known);
          nft.decode(buffer, message);
          connections.match(buffer, message);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('do not throw on messages with some bytes changed', () => {
    const routes = new RouteDecoder();
    const route: Route = {
      destination: new Prefix(new IpAddress(4, 0x0900_0100n), 24),
      table: 254,
      protocol: 225,
      metric: 5,
      gateway: new IpAddress(4, 0x2c80_0002n),
      link: 'vtep1024',
      onlink: true,
    };
    const writer = new MessageWriter();
    encodeRoute(writer, 1, 'replace', route, 7);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(writer.length - 1), fc.nat(255)), { maxLength: 6 }), (changes) => {
        const buffer = Buffer.from(writer.bytes);
        for (const [at, value] of changes) buffer[at] = value;
        forEachMessage(buffer, buffer.length, (message) => {
          routes.decode(buffer, message, nameOf);
          return true;
        });
      }),
      { numRuns: 1000 },
    );
  });
});
