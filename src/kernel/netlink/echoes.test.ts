import { describe, expect, it } from 'vitest';
import { ip } from '../../base/ip.ts';
import type { Mac } from '../../base/mac.ts';
import { echoKey, Echoes, type EchoListener } from './echoes.ts';
import { forEachMessage, MessageWriter } from './message.ts';
import { encodeFdb } from './rtnetlink/fdb.ts';
import { encodeNeighbour, ndmsg } from './rtnetlink/neighbour.ts';

const silent: EchoListener = { setApart: () => undefined };

describe('echoes', () => {
  it('are recognised once each', () => {
    const echoes = new Echoes();
    echoes.expect('new', 7);
    echoes.expect('new', 7);
    expect(echoes.recognise('delete', 7)).toBe(false);
    expect([1, 2, 3].map(() => echoes.recognise('new', 7))).toEqual([true, true, false]);
  });

  it('of a link that is removed are recognised until its end', () => {
    const echoes = new Echoes();
    echoes.add(silent);
    echoes.doom('v');
    expect(echoes.recogniseDoomed('new', 'v')).toBe(true);
    expect(echoes.recogniseDoomed('delete', 'v')).toBe(true);
    expect(echoes.recogniseDoomed('delete', 'v')).toBe(false);
  });

  it('of a link that is made again are no longer those of its removal', () => {
    const echoes = new Echoes();
    echoes.add(silent);
    echoes.doom('v');
    const remake = { do: 'link-add', name: 'v', link: { kind: 'bridge' }, settings: {} } as const;
    echoes.aroundLinkChange(remake, () => undefined);
    expect(echoes.recogniseDoomed('delete', 'v')).toBe(false);
  });

  it('are set apart around a change of a link, for it and all it touches', () => {
    const echoes = new Echoes();
    const calls: string[][] = [];
    echoes.add({ setApart: (links) => calls.push([...links].sort()) });
    const change = {
      do: 'link-add',
      name: 'v',
      link: { kind: 'veth', peer: { name: 'w' } },
      settings: { master: 'br' },
    } as const;
    expect(echoes.aroundLinkChange(change, () => 5)).toBe(5);
    expect(calls).toEqual([[], ['br', 'v', 'w']]);
  });

  it('of a link that takes a while to be made are its own alone, whatever is changed meanwhile', async () => {
    const echoes = new Echoes();
    const calls: string[][] = [];
    echoes.add({ setApart: (links) => calls.push([...links].sort()) });
    const peer = { name: 'eth0', namespacePath: '/run/netns/c' };
    const make = {
      do: 'link-add',
      name: 'v',
      link: { kind: 'veth', peer },
      settings: { master: 'br' },
    } as const;
    const change = { do: 'link-set', name: 'x', settings: { up: true } } as const;
    const made = await echoes.aroundLinkMaking(make, async () => {
      expect([...echoes.making]).toEqual(['v']);
      echoes.aroundLinkChange(change, () => undefined);
      return 5;
    });
    expect(made).toBe(5);
    expect(calls).toEqual([[], ['v'], ['v', 'x'], ['v']]);
    expect(echoes.making.size).toBe(0);
  });

  it('are forgotten when nobody listens any more', () => {
    const echoes = new Echoes();
    echoes.add(silent);
    echoes.expect('new', 7);
    echoes.remove(silent);
    expect(echoes.active).toBe(false);
    expect(echoes.recognise('new', 7)).toBe(false);
  });
});

const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_CACHEINFO = 3;
const AF_BRIDGE = 7;

/** The keys of all messages written. */
function keysOf(write: (writer: MessageWriter) => void): readonly (number | undefined)[] {
  const writer = new MessageWriter();
  write(writer);
  const keys: (number | undefined)[] = [];
  forEachMessage(writer.bytes, writer.length, ({ start, end }) => {
    keys.push(echoKey(writer.bytes, start, end));
    return true;
  });
  return keys;
}

const macOf = (number: number): Mac =>
  `70:b3:d5:80:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}` as Mac;

describe('the key of an echo', () => {
  it('is that of the request, whatever else the kernel says and in whatever order', () => {
    const mac = macOf(258);
    const entry = { link: 'v', mac, destination: ip('10.250.1.2'), permanent: true };
    const [request] = keysOf((writer) => encodeFdb(writer, 1, 'replace', entry, 5));
    const [notification] = keysOf((writer) => {
      writer.begin(28, 0, 0);
      ndmsg(writer, AF_BRIDGE, 5, 0x80, 2);
      writer.attributeIp(NDA_DST, entry.destination);
      writer.attributeU32(NDA_CACHEINFO, 77);
      writer.attributeMac(NDA_LLADDR, mac);
      writer.end();
    });
    expect(request).toBeDefined();
    expect(notification).toBe(request);
  });

  it('of a neighbour is its address alone, of either family', () => {
    for (const address of ['44.128.0.1', 'fd01:a::1'].map(ip)) {
      const [one, other, elsewhere] = keysOf((writer) => {
        const neighbour = { link: 'v', address, permanent: true };
        encodeNeighbour(writer, 1, 'replace', { ...neighbour, mac: macOf(1) }, 5);
        encodeNeighbour(writer, 2, 'delete', { ...neighbour, mac: macOf(2) }, 5);
        encodeNeighbour(writer, 3, 'replace', { ...neighbour, mac: macOf(1) }, 6);
      });
      expect(other).toBe(one);
      expect(elsewhere).not.toBe(one);
    }
  });

  it('is another one for each of 65,536 nodes, and for each of their addresses', () => {
    const destinations = ['10.250.0.0', '10.251.0.0'].map(ip);
    const keys = keysOf((writer) => {
      for (let number = 0; number < 65_536; number++)
        for (const base of destinations) {
          const destination = base.plus(number) ?? base;
          encodeFdb(writer, 1, 'replace', { link: 'v', mac: macOf(number), destination, permanent: true }, 5);
        }
    });
    expect(new Set(keys).size).toBe(2 * 65_536);
  });
});
