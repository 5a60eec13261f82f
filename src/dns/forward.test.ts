import packet from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ip } from '../base/ip.ts';
import { seededRandom } from '../base/random.ts';
import { fitted, Forwarder, type ForwardEffect } from './forward.ts';
import { readQuery } from './query.ts';
import { readResponse } from './response.ts';
import type { Upstream } from './upstreams.ts';

const upstream = (last: number): Upstream => ({ address: ip(`10.9.9.${last}`), port: 53 });
type Send = ForwardEffect<string> & { do: 'send' };
type Reply = ForwardEffect<string> & { do: 'reply' };

class Bed {
  readonly forwarder: Forwarder<string>;
  effects: ForwardEffect<string>[] = [];
  now = 0;

  constructor(count: number, zones: Record<string, number> = {}) {
    this.forwarder = new Forwarder<string>(
      { random: seededRandom(7) },
      {
        rules: {
          upstreams: Array.from({ length: count }, (_, i) => upstream(i + 1)),
          zones: new Map(Object.entries(zones).map(([zone, last]) => [zone, [upstream(last)]])),
        },
      },
    );
  }

  ask(name: string, client = 'c', options: { edns?: boolean; id?: number } = {}): void {
    const bytes = packet.encode({
      type: 'query',
      id: options.id ?? 99,
      flags: packet.RECURSION_DESIRED,
      questions: [{ name, type: 'A' }],
      additionals:
        options.edns === true
          ? [{ name: '.', type: 'OPT', udpPayloadSize: 4096, flags: 0, options: [] } as never]
          : [],
    });
    const query = readQuery(bytes, bytes.length);
    if (query === undefined) throw new Error('no query');
    this.step({ kind: 'ask', client, query, head: Buffer.from(bytes.subarray(0, query.questionEnd)) });
  }

  step(event: Parameters<Forwarder<string>['step']>[0]): void {
    this.effects = [...this.forwarder.step(event, this.now)];
  }

  sends(): Send[] {
    return this.effects.filter((effect) => effect.do === 'send');
  }

  replies(): { client: string; packet: packet.DecodedPacket }[] {
    return this.effects
      .filter((effect): effect is Reply => effect.do === 'reply')
      .map((effect) => ({ client: effect.client, packet: packet.decode(effect.packet) }));
  }

  answer(send: Send, change: Partial<packet.Packet> = {}, flags = packet.RECURSION_AVAILABLE): void {
    const asked = packet.decode(send.packet);
    const bytes = packet.encode({
      type: 'response',
      id: asked.id ?? 0,
      flags,
      questions: asked.questions ?? [],
      answers: [{ name: asked.questions?.[0]?.name ?? '', type: 'A', ttl: 30, data: '192.0.2.1' }],
      ...change,
    });
    this.step({ kind: 'received', attempt: send.attempt, packet: bytes });
  }

  tick(now: number): void {
    this.now = now;
    this.step({ kind: 'tick' });
  }
}

const NXDOMAIN = 3;
const SERVFAIL = 2;
const soa = (ttl: number, minimum: number): packet.Answer => ({
  name: 'com',
  type: 'SOA',
  ttl,
  data: { mname: 'a.com', rname: 'b.com', serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
});

describe('forwarding', () => {
  it('asks both of two upstreams and takes the first answer, to the question as the client wrote it', () => {
    const bed = new Bed(2);
    bed.ask('WWW.Example.com', 'c', { id: 4711 });
    const [one, two] = bed.sends();
    expect(bed.sends().map((send) => send.upstream.address.toString())).toEqual(['10.9.9.1', '10.9.9.2']);
    bed.answer(two as Send);
    expect(bed.replies()).toMatchObject([
      {
        client: 'c',
        packet: { id: 4711, questions: [{ name: 'WWW.Example.com' }], answers: [{ data: '192.0.2.1' }] },
      },
    ]);
    expect(bed.effects).toContainEqual({ do: 'close', attempt: one?.attempt });
    bed.answer(one as Send);
    expect(bed.effects).toEqual([]);
    expect(bed.forwarder.busy).toBe(false);
  });

  it('asks two of many, those that failed least', () => {
    const bed = new Bed(5);
    const picked = new Set<string>();
    for (let i = 0; i < 40; i++) {
      bed.ask(`n${i}.com`);
      expect(bed.sends().length).toBe(2);
      for (const send of bed.sends()) picked.add(send.upstream.address.toString());
      for (const send of bed.sends().slice(0, 1)) bed.answer(send);
    }
    expect(picked.size).toBe(5);
    bed.ask('bad.com');
    const failing = bed.sends();
    for (const send of failing) bed.step({ kind: 'failed', attempt: send.attempt, reason: 'refused' });
    const bad = failing.map((send) => send.upstream.address.toString());
    for (let i = 0; i < 10; i++) {
      bed.ask(`m${i}.com`);
      for (const send of bed.sends()) expect(bad).not.toContain(send.upstream.address.toString());
    }
  });

  it('goes to others when those asked first all fail, and says SERVFAIL when there are none', () => {
    const bed = new Bed(3);
    bed.ask('x.com');
    const [one, two] = bed.sends();
    bed.step({ kind: 'failed', attempt: one?.attempt ?? 0, reason: 'refused' });
    expect(bed.sends()).toEqual([]);
    bed.step({ kind: 'failed', attempt: two?.attempt ?? 0, reason: 'refused' });
    const [third] = bed.sends();
    expect(third).toBeDefined();
    bed.tick(4_999);
    expect(bed.replies()).toEqual([]);
    bed.tick(5_000);
    expect(bed.replies()).toMatchObject([{ packet: { rcode: 'SERVFAIL', questions: [{ name: 'x.com' }] } }]);
  });

  it('takes 10 s at most', () => {
    const bed = new Bed(6);
    bed.ask('x.com');
    bed.tick(5_000);
    expect(bed.sends().length).toBe(2);
    bed.tick(10_000);
    expect(bed.replies()).toMatchObject([{ packet: { rcode: 'SERVFAIL' } }]);
  });

  it('waits for the better answer while one is left', () => {
    const bed = new Bed(2);
    bed.ask('x.com');
    const [one, two] = bed.sends();
    bed.answer(one as Send, { answers: [] }, SERVFAIL);
    expect(bed.replies()).toEqual([]);
    bed.answer(two as Send);
    expect(bed.replies()).toMatchObject([{ packet: { answers: [{ data: '192.0.2.1' }] } }]);
  });

  it('answers SERVFAIL at once when nobody is there to ask', () => {
    const bed = new Bed(0);
    bed.ask('x.com');
    expect(bed.replies()).toMatchObject([{ packet: { rcode: 'SERVFAIL' } }]);
  });

  it('takes the longest zone', () => {
    const bed = new Bed(1, { 'corp.example': 7, 'eu.corp.example': 8 });
    const asked = (name: string): string | undefined => {
      bed.ask(name);
      return bed.sends()[0]?.upstream.address.toString();
    };
    expect(asked('a.eu.corp.example')).toBe('10.9.9.8');
    expect(asked('a.us.corp.example')).toBe('10.9.9.7');
    expect(asked('notcorp.example')).toBe('10.9.9.1');
  });

  it('asks once for all who ask the same meanwhile', () => {
    const bed = new Bed(1);
    bed.ask('x.com', 'one', { id: 1 });
    const [send] = bed.sends();
    bed.ask('X.com', 'two', { id: 2 });
    expect(bed.sends()).toEqual([]);
    bed.answer(send as Send);
    expect(bed.replies()).toMatchObject([
      { client: 'one', packet: { id: 1, questions: [{ name: 'x.com' }] } },
      { client: 'two', packet: { id: 2, questions: [{ name: 'X.com' }] } },
    ]);
  });

  it('keeps answers for their time, counting down', () => {
    const bed = new Bed(1);
    bed.ask('x.com');
    bed.answer(bed.sends()[0] as Send);
    bed.now = 10_400;
    bed.ask('x.COM');
    expect(bed.replies()).toMatchObject([
      { packet: { questions: [{ name: 'x.COM' }], answers: [{ ttl: 20 }] } },
    ]);
    bed.now = 30_000;
    bed.ask('x.com');
    expect(bed.sends().length).toBe(1);
  });

  it('keeps "there is none" as long as the SOA allows, and not without one', () => {
    const bed = new Bed(1);
    bed.ask('none.com');
    bed.answer(bed.sends()[0] as Send, { answers: [], authorities: [soa(600, 20)] }, NXDOMAIN);
    bed.now = 19_000;
    bed.ask('none.com');
    expect(bed.replies()).toMatchObject([{ packet: { rcode: 'NXDOMAIN' } }]);
    bed.now = 20_000;
    bed.ask('none.com');
    expect(bed.sends().length).toBe(1);
    bed.answer(bed.sends()[0] as Send, { answers: [] }, NXDOMAIN);
    bed.ask('none.com');
    expect(bed.sends().length).toBe(1);
  });

  it('asks by TCP what came cut', () => {
    const bed = new Bed(1);
    bed.ask('big.com');
    bed.answer(bed.sends()[0] as Send, { answers: [] }, packet.TRUNCATED_RESPONSE);
    const [again] = bed.sends();
    expect(again?.protocol).toBe('tcp');
    bed.answer(again as Send);
    expect(bed.replies()).toMatchObject([{ packet: { answers: [{ data: '192.0.2.1' }] } }]);
  });

  it('ignores answers to other questions, and gives up an upstream that answers nonsense', () => {
    const bed = new Bed(2);
    bed.ask('x.com');
    const [one, two] = bed.sends() as [Send, Send];
    bed.answer(one, { id: ((packet.decode(one.packet).id ?? 0) + 1) & 0xffff });
    expect(bed.effects).toEqual([]);
    bed.answer(one, { questions: [{ name: 'y.com', type: 'A' }] });
    expect(bed.effects).toEqual([]);
    const garbage = Buffer.alloc(40, 0xc0);
    one.packet.copy(garbage, 0, 0, 2);
    bed.step({ kind: 'received', attempt: one.attempt, packet: garbage });
    expect(bed.effects).toContainEqual(expect.objectContaining({ do: 'count-failure', reason: 'malformed' }));
    bed.answer(two);
    expect(bed.replies().length).toBe(1);
  });

  it('bounds what is under way', () => {
    const bed = new Bed(1);
    for (let i = 0; i < 1024; i++) bed.ask(`x${i}.com`);
    bed.ask('one-more.com');
    expect(bed.replies()).toMatchObject([{ packet: { rcode: 'SERVFAIL' } }]);
    bed.tick(5_000);
    expect(bed.replies().length).toBe(1024);
    expect(bed.forwarder.busy).toBe(false);
  });

  it('bounds what it keeps', () => {
    const bed = new Bed(1);
    for (let i = 0; i < 10_100; i++) {
      bed.ask(`x${i}.com`);
      bed.answer(bed.sends()[0] as Send);
    }
    expect(bed.forwarder.cacheSize.entries).toBe(10_000);
  });

  it('passes options on only where the client has any, and cuts for it what is too long', () => {
    const bed = new Bed(1);
    bed.ask('x.com', 'c', { edns: true });
    expect(packet.decode(bed.sends()[0]?.packet as Buffer).additionals).toMatchObject([
      { type: 'OPT', udpPayloadSize: 1232 },
    ]);
    const long = packet.encode({
      type: 'response',
      questions: [{ name: 'x.com', type: 'A' }],
      answers: Array.from({ length: 60 }, () => ({ name: 'x.com', type: 'A' as const, data: '192.0.2.1' })),
    });
    const cut = packet.decode(fitted(long, 23, 512));
    expect(cut).toMatchObject({ flag_tc: true, questions: [{ name: 'x.com' }], answers: [] });
  });
});

describe('reading what upstreams send', () => {
  it('ends for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const response = readResponse(Buffer.from(bytes));
        if (response !== undefined)
          expect(response.ttlOffsets.every((at) => at + 4 <= bytes.length)).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  it('refuses counts that the length cannot hold', () => {
    const bytes = Buffer.alloc(40);
    bytes[2] = 0x80;
    bytes.writeUInt16BE(1, 4);
    bytes.writeUInt16BE(0xffff, 6);
    expect(readResponse(bytes)).toBeUndefined();
  });

  it('takes what leads to itself for no answer', () => {
    const bytes = Buffer.from([
      0, 1, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1, 0xc0, 19, 0, 1, 0, 1, 0, 0, 0, 9, 0, 2,
      0xc0, 31,
    ]);
    expect(readResponse(bytes)).toBeUndefined();
    bytes[20] = 12;
    bytes[32] = 12;
    expect(readResponse(bytes)?.ttl).toBe(9);
  });
});
