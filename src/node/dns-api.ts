/**
 * Names over HTTP: the API of Mesos-DNS and of DC/OS' node daemon (reference "VIPs and DNS", sections 5 and 7).
 *
 * Both answer the same questions in nearly the same words; where they differ, `dialect` says whose words are meant.
 * Review notes: what lists everything is written piece by piece, with turns of the event loop between: ten thousand
 * tasks have a hundred thousand records.
 */
import { setImmediate } from 'node:timers/promises';
import type { Context, Hono } from 'hono';
import { PortolanError } from '../base/errors.ts';
import { types } from '../dns/constants.ts';
import { nameKey } from '../dns/name.ts';
import { dataText, type DnsRecord, type RecordType } from '../dns/record.ts';
import { MESOS } from '../dns/zones.ts';
import { fragment } from '../model/dns-name.ts';
import type { ViewedTask } from '../model/task-view.ts';
import type { DnsNames } from './dns-names.ts';
import type { RecordView } from './record-view.ts';

export interface DnsApiInit {
  readonly names: DnsNames;
  readonly records: Pick<RecordView, 'tasks'>;
  /** `dcos-dns` numbers the ports of services, `mesos-dns` writes them as text. */
  readonly dialect: 'dcos-dns' | 'mesos-dns';
  readonly version: string;
  /** The configuration, as it may be shown. */
  config(): object;
}

const SERVICES = { 'dcos-dns': 'dcos-dns', 'mesos-dns': 'Mesos-DNS' } as const;
/** What is written in one turn of the event loop. */
const RECORDS_PER_CHUNK = 250;
const TASKS_PER_CHUNK = 50;

export function addDnsRoutes(app: Hono, init: DnsApiInit): void {
  const { names } = init;
  app.get('/v1/version', (context) =>
    context.json({ Service: SERVICES[init.dialect], Version: init.version }),
  );
  app.get('/v1/config', (context) => context.json(init.config()));
  app.get('/v1/hosts/:name', (context) => context.json(hosts(names, nameOf(context))));
  app.get('/v1/services/:name', (context) => context.json(services(init, nameOf(context))));
  app.get('/v1/enumerate', () => streamed(enumerate(init)));
  app.get('/v1/axfr', () => streamed(axfr(names)));
  app.get('/v1/records', () => streamed(listed(names)));
}

function streamed(chunks: Generator<string>): Response {
  const body = new ReadableStream<string>({
    pull: async (controller) => {
      await setImmediate();
      const chunk = chunks.next();
      if (chunk.done === true) controller.close();
      else controller.enqueue(chunk.value);
    },
  });
  const headers = { 'content-type': 'application/json' };
  return new Response(body.pipeThrough(new TextEncoderStream()), { headers });
}

function nameOf(context: Context): string {
  const name = (context.req.param('name') ?? '').toLowerCase().replace(/\.$/, '');
  if (nameKey(name) !== undefined && name !== '') return name;
  throw new PortolanError('invalid', `Cannot look up "${name}": it is no DNS name`, {
    field: 'name',
    remedy: 'give labels of at most 63 characters with dots between, such as web.marathon.mesos',
  });
}

function told(names: DnsNames, name: string, type: number): readonly DnsRecord[] {
  return names.answerer.resolve(name, type)?.records ?? [];
}

function addressesOf(names: DnsNames, name: string): readonly string[] {
  const found = [types.A, types.AAAA].flatMap((type) => told(names, name, type));
  // A name of the operator's is told with the name that it leads to.
  return found.flatMap(({ data }) => (data.type === 'A' || data.type === 'AAAA' ? dataText(data) : []));
}

/** Nothing found is one row of empty texts, as in Mesos-DNS. */
function hosts(names: DnsNames, name: string): readonly object[] {
  const rows = addressesOf(names, name).map((ip) => ({ host: `${name}.`, ip }));
  return rows.length > 0 ? rows : [{ host: '', ip: '' }];
}

function services({ names, dialect }: DnsApiInit, name: string): readonly object[] {
  const rows = told(names, name, types.SRV).flatMap(({ data }) => {
    if (data.type !== 'SRV') return [];
    const port = dialect === 'dcos-dns' ? data.port : String(data.port);
    const [ip] = addressesOf(names, data.target);
    return [{ service: `${name}.`, host: `${data.target}.`, ...(ip === undefined ? {} : { ip }), port }];
  });
  return rows.length > 0 ? rows : [{ service: '', host: '', ip: '', port: '' }];
}

interface RecordRow {
  readonly name: string;
  readonly host: string;
  readonly rtype: string;
}

function row({ name, data }: DnsRecord): RecordRow {
  return { name: `${name}.`, host: dataText(data), rtype: data.type };
}

const isListed = ({ data }: DnsRecord): boolean =>
  data.type === 'A' || data.type === 'AAAA' || data.type === 'SRV';

/** By framework and task. Names of Mesos-DNS only, as there. */
function* enumerate({ names, records }: DnsApiInit): Generator<string> {
  const frameworks = new Map<string, ViewedTask[]>();
  for (const viewed of records.tasks().toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    const framework = fragment(viewed.task.framework);
    const tasks = frameworks.get(framework);
    if (tasks === undefined) frameworks.set(framework, [viewed]);
    else tasks.push(viewed);
  }
  yield '{"frameworks":[';
  let isFirst = true;
  for (const [name, tasks] of frameworks) {
    let open = `${isFirst ? '' : ','}{"name":${JSON.stringify(name)},"tasks":[`;
    for (const chunk of joined(enumerated(names, tasks), TASKS_PER_CHUNK)) {
      yield open + chunk;
      open = '';
      isFirst = false;
    }
    // A framework of which nothing runs is not there.
    if (open === '') yield ']}';
  }
  yield ']}';
}

function* enumerated(names: DnsNames, tasks: readonly ViewedTask[]): Generator<string> {
  for (const { id, task } of tasks) {
    const rows = names.table
      .recordsOf(id)
      .filter((record) => isListed(record) && record.name.endsWith(`.${MESOS}`));
    if (rows.length > 0) yield JSON.stringify({ name: task.name, id: task.id, records: rows.map(row) });
  }
}

/** Everything of `mesos`, by type and name. */
function* axfr(names: DnsNames): Generator<string> {
  const head = {
    TTL: names.ttls.mesos,
    Serial: 1,
    RefreshSeconds: 60,
    Mname: `ns1.${MESOS}.`,
    Rname: `root.ns1.${MESOS}.`,
    Domain: MESOS,
  };
  yield `${JSON.stringify(head).slice(0, -1)},"Records":{`;
  const listing = yield* gathered(names);
  for (const [i, type] of (['A', 'AAAA', 'SRV'] as const).entries()) {
    yield `${i === 0 ? '' : ','}"${type}s":{`;
    yield* joined(valuesByName(listing, type), RECORDS_PER_CHUNK);
    yield '}';
  }
  yield '}}';
}

type Listing = readonly ReadonlyMap<RecordType, readonly DnsRecord[]>[];

function* valuesByName(listing: Listing, type: RecordType): Generator<string | undefined> {
  for (const sets of listing) {
    const records = sets.get(type) ?? [];
    const name = records[0]?.name ?? '';
    yield name.endsWith(`.${MESOS}`)
      ? `${JSON.stringify(`${name}.`)}:${JSON.stringify(records.map(({ data }) => dataText(data)))}`
      : undefined;
  }
}

function* listed(names: DnsNames): Generator<string> {
  yield '[';
  yield* joined(rowsOf(yield* gathered(names)), RECORDS_PER_CHUNK);
  yield ']';
}

function* rowsOf(listing: Listing): Generator<string | undefined> {
  for (const sets of listing)
    for (const record of Array.from(sets.values()).flat())
      yield isListed(record) ? JSON.stringify(row(record)) : undefined;
}

/** All names, made with turns of the event loop between, in which nothing is written. */
function* gathered(names: DnsNames): Generator<string, Listing> {
  const making = names.table.listing();
  for (let step = 1; ; step++) {
    const { done, value } = making.next();
    if (done === true) return value;
    if (step % TASKS_PER_CHUNK === 0) yield '';
  }
}

/** With commas between, `count` of them at a time; what is not listed takes its time, too. */
function* joined(parts: Generator<string | undefined>, count: number): Generator<string> {
  let [chunk, seen, separator] = ['', 0, ''];
  for (const part of parts) {
    if (part !== undefined) {
      chunk += separator + part;
      separator = ',';
    }
    if (++seen % count > 0) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk !== '') yield chunk;
}
