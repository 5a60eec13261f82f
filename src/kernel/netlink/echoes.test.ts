import { describe, expect, it } from 'vitest';
import { Echoes, type EchoListener } from './echoes.ts';

const silent: EchoListener = { setApart: () => undefined };

describe('echoes', () => {
  it('are recognised once each', () => {
    const echoes = new Echoes();
    echoes.expect('new', 'fdb a');
    echoes.expect('new', 'fdb a');
    expect(echoes.recognise('delete', 'fdb a')).toBe(false);
    expect([1, 2, 3].map(() => echoes.recognise('new', 'fdb a'))).toEqual([true, true, false]);
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
    const calls: (string[] | undefined)[] = [];
    echoes.add({ setApart: (links) => calls.push(links === undefined ? undefined : [...links].sort()) });
    const change = {
      do: 'link-add',
      name: 'v',
      link: { kind: 'veth', peer: { name: 'w' } },
      settings: { master: 'br' },
    } as const;
    expect(echoes.aroundLinkChange(change, () => 5)).toBe(5);
    expect(calls).toEqual([undefined, ['br', 'v', 'w']]);
  });

  it('are forgotten when nobody listens any more', () => {
    const echoes = new Echoes();
    echoes.add(silent);
    echoes.expect('new', 'fdb a');
    echoes.remove(silent);
    expect(echoes.active).toBe(false);
    expect(echoes.recognise('new', 'fdb a')).toBe(false);
  });
});
