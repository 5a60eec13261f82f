import { describe, expect, it } from 'vitest';
import { ip, prefix } from '../../base/ip.ts';
import { renderRemoval, renderTable } from './render.ts';
import type { NftTable } from './types.ts';

const table: NftTable = {
  family: 'inet',
  name: 'portolan',
  sets: [
    {
      name: 'portMap4',
      key: ['inet_proto', 'inet_service'],
      data: ['ipv4_addr', 'inet_service'],
      elements: [{ key: [6, 8080], data: [ip('9.0.1.3'), 80] }],
    },
    { name: 'overlays4', key: ['ipv4_addr'], interval: true, elements: [{ key: [prefix('9.0.0.0/8')] }] },
    { name: 'devices', key: ['ifname', 'ether_addr'], elements: [{ key: ['m-dcos', '70:b3:d5:80:00:01'] }] },
  ],
  chains: [
    {
      name: 'nat-prerouting',
      base: { type: 'nat', hook: 'prerouting', priority: -100 },
      rules: ['fib daddr type local jump dnat'],
    },
    { name: 'dnat', rules: [] },
  ],
};

describe('renderTable', () => {
  it('writes one transaction that makes the table anew', () => {
    expect([...renderTable(table)].join('')).toBe(
      [
        'add table inet portolan',
        'delete table inet portolan',
        'table inet portolan {',
        '\tmap portMap4 {',
        '\t\ttype inet_proto . inet_service : ipv4_addr . inet_service',
        '\t}',
        '\tset overlays4 {',
        '\t\ttype ipv4_addr',
        '\t\tflags interval',
        '\t}',
        '\tset devices {',
        '\t\ttype ifname . ether_addr',
        '\t}',
        '\tchain nat-prerouting {',
        '\t\ttype nat hook prerouting priority -100; policy accept;',
        '\t\tfib daddr type local jump dnat',
        '\t}',
        '\tchain dnat {',
        '\t}',
        '}',
        'add element inet portolan portMap4 { 6 . 8080 : 9.0.1.3 . 80 }',
        'add element inet portolan overlays4 { 9.0.0.0/8 }',
        'add element inet portolan devices { "m-dcos" . 70:b3:d5:80:00:01 }',
        '',
      ].join('\n'),
    );
  });

  it('splits many elements into commands of a thousand', () => {
    const elements = Array.from({ length: 2500 }, (_, port) => ({ key: [port] }));
    const sets = [{ name: 'ports', key: ['inet_service'] as const, elements }];
    const pieces = [...renderTable({ ...table, sets, chains: [] })];
    expect(pieces.filter((piece) => piece.startsWith('add element'))).toHaveLength(3);
  });

  it('refuses what would break out of its place', () => {
    const broken = (change: Partial<NftTable>): (() => unknown) => {
      return () => [...renderTable({ ...table, ...change })];
    };
    expect(broken({ name: 'a; flush ruleset' })).toThrow('identifier');
    expect(broken({ chains: [{ name: 'c', rules: ['accept\n} flush ruleset'] }] })).toThrow('one rule');
    expect(
      broken({ sets: [{ name: 'd', key: ['ifname'], elements: [{ key: ['a" }; flush ruleset'] }] }] }),
    ).toThrow('without quotes');
  });
});

describe('renderRemoval', () => {
  it('succeeds also when there is no table', () => {
    expect(renderRemoval(table)).toBe('add table inet portolan\ndelete table inet portolan\n');
  });
});
