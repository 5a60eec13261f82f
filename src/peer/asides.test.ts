import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ip } from '../base/ip.ts';
import { FakeUdp } from '../kernel/udp/fake.ts';
import { Asides, SECRET_BYTES } from './asides.ts';

function pair() {
  const udp = new FakeUdp();
  const [here, there] = [new Asides(), new Asides()];
  here.mailbox = udp.mailbox(ip('127.0.0.1'), 1);
  there.mailbox = udp.mailbox(ip('127.0.0.1'), 2);
  const secret = randomBytes(SECRET_BYTES);
  const dialled = here.open({ secret, isDialled: true, host: '127.0.0.1', port: 2 });
  const accepted = there.open({ secret, isDialled: false, host: '127.0.0.1', port: 40_000 });
  const heard: string[] = [];
  accepted.listen((bytes) => heard.push(Buffer.from(bytes).toString()));
  const wire = udp.mailbox(ip('127.0.0.1'), 3);
  const to = wire.addressOf('127.0.0.1', 2) as Uint8Array;
  /** What goes there, as a stranger on the way sees it. */
  const spy = (send: () => void): Buffer => {
    const { mailbox } = here;
    let seen = Buffer.alloc(0);
    if (mailbox !== undefined)
      here.mailbox = { ...mailbox, send: (_to, bytes) => (seen = Buffer.from(bytes)) };
    send();
    here.mailbox = mailbox;
    return seen;
  };
  return {
    there,
    dialled,
    accepted,
    heard,
    spy,
    inject: (bytes: Uint8Array) => wire.send(Buffer.from(to), bytes),
  };
}

describe('what is said beside a stream', () => {
  it('is heard once, however often it comes, and not after something newer', () => {
    const { there, dialled, heard, spy, inject } = pair();
    const first = spy(() => dialled.send(Buffer.from('first')));
    const second = spy(() => dialled.send(Buffer.from('second')));
    for (const bytes of [second, second, first]) inject(bytes);
    there.hear();
    expect(heard).toEqual(['second']);
  });

  it('counts for nothing when a stranger has made or changed it, or sends it back', () => {
    const { there, dialled, accepted, heard, spy, inject } = pair();
    const said = spy(() => dialled.send(Buffer.from('said')));
    for (let at = 0; at < said.length; at++) {
      const changed = Buffer.from(said);
      changed[at] = (changed[at] ?? 0) ^ 1;
      inject(changed);
    }
    inject(said.subarray(0, 20));
    inject(Buffer.alloc(0));
    inject(randomBytes(60));
    there.hear();
    expect(heard).toEqual([]);
    inject(said);
    accepted.close();
    there.hear();
    expect(heard).toEqual([]);
  });
});
