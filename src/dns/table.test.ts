import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { ip } from '../base/ip.ts';
import { nameKey } from './name.ts';
import { dataText, type DnsRecord } from './record.ts';
import { NameTable } from './table.ts';

const a = (name: string, address: string, preferred = true): DnsRecord => ({
  name,
  ttl: 5,
  data: { type: 'A', address: ip(address) },
  preferred,
});
const told = (table: NameTable, name: string): string[] | undefined =>
  table
    .find(nameKey(name) ?? '')
    ?.get('A')
    ?.records.map(({ data }) => dataText(data));

describe('the table of names', () => {
  it('unites what several owners say of a name, each address once', () => {
    const table = new NameTable();
    table.set('one', [a('x.mesos', '9.0.0.1')]);
    table.set('two', [a('x.mesos', '9.0.0.2'), a('x.mesos', '9.0.0.1')]);
    expect(told(table, 'x.mesos')).toEqual(['9.0.0.1', '9.0.0.2']);
    table.set('one', []);
    table.set('two', [a('x.mesos', '9.0.0.2')]);
    expect(told(table, 'x.mesos')).toEqual(['9.0.0.2']);
  });

  it('has a name as long as something is below it', () => {
    const table = new NameTable();
    table.set('one', [a('a.b.mesos', '9.0.0.1')]);
    expect(table.find(nameKey('b.mesos') ?? '')?.size).toBe(0);
    table.set('one', []);
    expect(table.find(nameKey('b.mesos') ?? '')).toBeUndefined();
    expect(table.find('\0')).toBeUndefined();
  });

  it('says whether anything has changed', () => {
    const table = new NameTable();
    expect(table.set('one', [a('x.mesos', '9.0.0.1')])).toBe(true);
    expect(table.set('one', [a('x.mesos', '9.0.0.1')])).toBe(false);
    expect(table.set('one', [a('x.mesos', '9.0.0.1', false)])).toBe(true);
  });

  it('is the same whatever the way to it', () => {
    const record = fc.tuple(
      fc.constantFrom('a.mesos', 'b.a.mesos', 'c.mesos', 'x.c.mesos'),
      fc.constantFrom('9.0.0.1', '9.0.0.2'),
      fc.boolean(),
    );
    const records = fc.array(record, { maxLength: 4 });
    const step = fc.tuple(fc.constantFrom('o1', 'o2', 'o3'), records);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const table = new NameTable();
        const last = new Map<string, readonly DnsRecord[]>();
        for (const [owner, entries] of steps) {
          const said = entries.map(([name, address, preferred]) => a(name, address, preferred));
          last.set(owner, said);
          table.set(owner, said);
        }
        const fresh = new NameTable();
        for (const [owner, said] of last) fresh.set(owner, said);
        for (const name of ['mesos', 'a.mesos', 'b.a.mesos', 'c.mesos', 'x.c.mesos']) {
          expect(told(table, name)).toEqual(told(fresh, name));
          expect(table.find(nameKey(name) ?? '') === undefined).toBe(
            fresh.find(nameKey(name) ?? '') === undefined,
          );
        }
      }),
    );
  });
});
