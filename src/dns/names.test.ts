import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeId } from '../model/names.ts';
import { taskRecord } from '../model/task.ts';
import type { ViewedTask } from '../model/task-view.ts';
import { ownRecords } from './cluster-names.ts';
import { keyText, nameKey } from './name.ts';
import { Names } from './names.ts';
import { dataText, type DnsRecord } from './record.ts';
import { toldRecords, type RecordSets } from './record-sets.ts';
import { NameTable } from './table.ts';
import { countRecords } from './task-counts.ts';
import { taskRecords, taskTitle } from './task-names.ts';
import { placeOf, taskWords } from './task-words.ts';
import { DCOS, MESOS } from './zones.ts';

const node = `n${'a'.repeat(25)}` as NodeId;

const viewed = (id: string, task: object = {}, more: Partial<ViewedTask> = {}): ViewedTask => ({
  ...{ id, node, host: 'agent1', agentIp: '10.0.0.11', reachable: true },
  task: taskRecord.parse({
    ...{ id, app: '/x', version: 'v', framework: 'marathon', name: 'web', runtime: 'mesos' },
    ...{ state: 'TASK_RUNNING', staged_at: 's', status_at: 's', networks: [], ports: [] },
    ...task,
  }),
  ...more,
});

/** Names that mean one another in part, that are too long, and that no label can have. */
const long = 'l'.repeat(62);
const name = fc.constantFrom(
  ...['web', 'Web', 'a.b', 'b', 'a-b', 'a_b', '_web', 'web._tcp', 'slave', 'x/y', '///', 'é', 'a.', '_a._b'],
  ...[`${long}a`, `${long}aa`, `${long}.${long}.${long}`, 'web-abcde-naaaaaaaaaaaaaaaaaaaaaaaaa'],
);
const framework = fc.constantFrom(
  'marathon',
  'b.marathon',
  'slave',
  'My.Frame_work',
  '..',
  `${long}.${long}.f`,
);
const address = fc.constantFrom('9.0.1.3', '9.0.1.4', '9.0.11.3', 'fd01:b::3', 'fd01:b::4');
const port = fc.record(
  {
    name: fc.constantFrom('http', 'Http_2', '', '///', long, `${long}aa`),
    protocol: fc.constantFrom('tcp', 'udp'),
    container_port: fc.constantFrom(80, 81),
    host_port: fc.constantFrom(8080, 8081),
  },
  { requiredKeys: ['protocol'] },
);
const network = fc.record({
  mode: fc.constantFrom('container', 'bridge', 'host'),
  addresses: fc.uniqueArray(address, { maxLength: 2 }),
});
const task = fc.record({
  ...{
    name,
    framework,
    networks: fc.array(network, { maxLength: 2 }),
    ports: fc.array(port, { maxLength: 2 }),
  },
  state: fc.constantFrom('TASK_RUNNING', 'TASK_RUNNING', 'TASK_RUNNING', 'TASK_KILLING'),
  healthy: fc.boolean(),
});
const view = (id: string): fc.Arbitrary<ViewedTask> =>
  fc
    .tuple(task, fc.constantFrom('10.0.0.11', '10.0.0.12'), fc.boolean())
    .map(([each, agentIp, reachable]) => viewed(id, each, { agentIp, reachable }));

const texts = (sets: RecordSets | undefined): readonly string[] | undefined =>
  sets === undefined
    ? undefined
    : Array.from(sets.values())
        .flatMap(({ records }) => records)
        .map(recordText)
        .toSorted();
const recordText = ({ name: of, ttl, data, preferred }: DnsRecord): string =>
  `${of} ${ttl} ${data.type} ${dataText(data)} ${String(preferred)}`;

/** The name and all above it. */
function withAbove(key: string): readonly string[] {
  const above = key.slice(1 + key.charCodeAt(0));
  return above === '' ? [key] : [key, ...withAbove(above)];
}

const isReverse = (key: string): boolean => keyText(key).endsWith('arpa');

describe('names', () => {
  const ids = ['t1', 't2', 't3'];
  const step = fc.oneof(
    fc.constantFrom(...ids).chain((id) => view(id).map((to) => ({ id, to: to as ViewedTask | undefined }))),
    fc.constantFrom(...ids).map((id) => ({ id, to: undefined })),
  );
  const told: readonly DnsRecord[] = [
    'web.marathon.mesos',
    'mesos',
    'slave.mesos',
    'marathon.slave.mesos',
  ].map((of) => ({ name: of, ttl: 60, data: { type: 'CNAME', target: 'x.example' }, preferred: true }));

  it('are those that a table of all records has, whatever was asked before', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 7 }), fc.constantFrom(1, 3, 1000), (steps, answersMax) => {
        const tasks = new Map<string, ViewedTask>();
        const names = new Names({ task: (id) => tasks.get(id), answersMax });
        const table = new NameTable();
        for (const each of [names, table]) each.set('own', ownRecords([]));
        const asked = new Set<string>();
        for (const [i, { id, to }] of steps.entries()) {
          if (to === undefined) tasks.delete(id);
          else tasks.set(id, to);
          const records = to === undefined ? [] : taskRecords(to);
          names.put(id, to);
          table.set(id, records);
          for (const each of [names, table]) each.set('told', i % 2 === 0 ? told : []);
          for (const record of [...records, ...told])
            for (const key of withAbove(nameKey(record.name) ?? '')) asked.add(key);
          for (const key of asked) {
            const [found, expected] = [names.find(key), table.find(key)].map(texts);
            // A network of addresses is there if any address is.
            if (isReverse(key) && (expected ?? []).length === 0) expect(found ?? []).toEqual([]);
            else expect(found, keyText(key)).toEqual(expected);
          }
          for (const [zone, count] of table.zoneCounts) expect(names.zoneCounts.get(zone), zone).toBe(count);
        }
      }),
    );
  });

  it('have something above them in the zones only that they are in', () => {
    // A name as its task wrote it, of several labels, is one of Mesos-DNS' alone.
    const task = viewed('t1', { name: 'a.b' });
    const names = new Names({ task: () => task });
    names.put('t1', task);
    const exists = (text: string): boolean => names.find(nameKey(text) ?? '') !== undefined;
    expect(exists('b.marathon.mesos')).toBe(true);
    expect(exists(`marathon.agentip.${DCOS}`)).toBe(true);
    expect(exists(`b.marathon.agentip.${DCOS}`)).toBe(false);
  });

  it('lead to a word of the task that has them, and are counted without being made', () => {
    fc.assert(
      fc.property(view('t1'), (each) => {
        const title = taskTitle(each);
        const records = taskRecords(each);
        if (title === undefined) {
          expect(records).toEqual([]);
          return;
        }
        const words = taskWords(each, title);
        for (const record of records) {
          const place = placeOf(nameKey(record.name) ?? '');
          expect(
            place?.words.some((word) => words.includes(word)),
            record.name,
          ).toBe(true);
          const same = records.filter((other) => other.name === record.name);
          expect(taskRecords(each, undefined, record.name).map(recordText).toSorted()).toEqual(
            same.map(recordText).toSorted(),
          );
        }
        for (const zone of [DCOS, MESOS] as const)
          expect(countRecords(each, title)[zone]).toBe(
            records.filter((record) => record.name.endsWith(`.${zone}`)).length,
          );
      }),
      { numRuns: 300 },
    );
  });

  it('are listed as they are answered', () => {
    const tasks = new Map(
      [viewed('t1'), viewed('t2', {}, { agentIp: '10.0.0.12' })].map((each) => [each.id, each]),
    );
    const names = new Names({ task: (id) => tasks.get(id) });
    names.set('told', told);
    for (const [id, each] of tasks) names.put(id, each);
    const making = names.listing();
    let made = making.next();
    while (made.done !== true) made = making.next();
    const listed = made.value.flatMap((sets) => Array.from(sets.values()).flat());
    const all = new Set(
      [...told, ...Array.from(tasks.values()).flatMap((each) => taskRecords(each))].map((each) => each.name),
    );
    expect(listed.map(recordText).toSorted()).toEqual(
      Array.from(all)
        .flatMap((each) => texts(names.find(nameKey(each) ?? '')) ?? [])
        .toSorted(),
    );
    expect(toldRecords([]).size).toBe(0);
  });

  it('made up by others lead to no task, and cost what they are long', () => {
    const names = new Names({ task: () => undefined });
    names.put('t1', viewed('t1', { name: 'a.b' }));
    const hostile = [
      '\u0003a.b\u0008marathon\u0005mesos\0',
      `${'\u0004_tcp'.repeat(49)}\u0005mesos\0`,
      `${'\u0001_'.repeat(120)}\u0005mesos\0`,
      '\u0000',
      '\u0005mesos\0',
      '\u000cab\u0005mesos\0',
    ];
    for (const key of hostile) expect(() => names.find(key)).not.toThrow();
    for (const key of hostile) expect(placeOf(key)?.words.length ?? 0).toBeLessThan(7);
  });
});
