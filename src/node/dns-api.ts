/**
 * Names over HTTP: the API of Mesos-DNS and of DC/OS' node daemon (reference "VIPs and DNS", sections 5 and 7).
 *
 * Both answer the same questions in nearly the same words; where they differ, `dialect` says whose words are meant.
 */
import type { Context, Hono } from 'hono';
import { PortolanError } from '../base/errors.ts';
import { types } from '../dns/constants.ts';
import { nameKey } from '../dns/name.ts';
import { dataText, type DnsRecord } from '../dns/record.ts';
import { MESOS } from '../dns/zones.ts';
import { fragment } from '../model/dns-name.ts';
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
const RECORDS_PER_CHUNK = 500;

export function addDnsRoutes(app: Hono, init: DnsApiInit): void {
  const { names } = init;
  app.get('/v1/version', (context) =>
    context.json({ Service: SERVICES[init.dialect], Version: init.version }),
  );
  app.get('/v1/config', (context) => context.json(init.config()));
  app.get('/v1/hosts/:name', (context) => context.json(hosts(names, nameOf(context))));
  app.get('/v1/services/:name', (context) => context.json(services(init, nameOf(context))));
  app.get('/v1/enumerate', (context) => context.json(enumerate(init)));
  app.get('/v1/axfr', (context) => context.json(axfr(names)));
  app.get('/v1/records', () => {
    const body = ReadableStream.from(recordChunks(names)).pipeThrough(new TextEncoderStream());
    return new Response(body, { headers: { 'content-type': 'application/json' } });
  });
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
  return [types.A, types.AAAA].flatMap((type) => told(names, name, type)).map(({ data }) => dataText(data));
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
    return [{ service: name, host: `${data.target}.`, ...(ip === undefined ? {} : { ip }), port }];
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
function enumerate({ names, records }: DnsApiInit): object {
  const frameworks = new Map<string, { name: string; id: string; records: RecordRow[] }[]>();
  const tasks = records.tasks().toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (const { id, task } of tasks) {
    const listed = names.table
      .ownerRecords(`task/${id}`)
      .filter((record) => isListed(record) && record.name.endsWith(`.${MESOS}`));
    if (listed.length === 0) continue;
    const framework = fragment(task.framework);
    const entry = { name: task.name, id: task.id, records: listed.map(row) };
    frameworks.set(framework, [...(frameworks.get(framework) ?? []), entry]);
  }
  return {
    frameworks: [...frameworks].map(([name, each]) => ({ name, tasks: each })),
  };
}

function axfr(names: DnsNames): object {
  const tables = {
    A: new Map<string, string[]>(),
    AAAA: new Map<string, string[]>(),
    SRV: new Map<string, string[]>(),
  };
  for (const { name, data } of names.table.told()) {
    if (!name.endsWith(`.${MESOS}`)) continue;
    if (data.type !== 'A' && data.type !== 'AAAA' && data.type !== 'SRV') continue;
    const table = tables[data.type];
    const values = table.get(`${name}.`);
    if (values === undefined) table.set(`${name}.`, [dataText(data)]);
    else values.push(dataText(data));
  }
  return {
    TTL: names.ttls.mesos,
    Serial: 1,
    RefreshSeconds: 60,
    Mname: `ns1.${MESOS}.`,
    Rname: `root.ns1.${MESOS}.`,
    Domain: MESOS,
    Records: {
      As: Object.fromEntries(tables.A),
      AAAAs: Object.fromEntries(tables.AAAA),
      SRVs: Object.fromEntries(tables.SRV),
    },
  };
}

/** One array, in pieces: tens of thousands of records are written as fast as they are read. */
function* recordChunks(names: DnsNames): Generator<string> {
  let chunk = '[';
  let count = 0;
  for (const record of names.table.told()) {
    if (!isListed(record)) continue;
    chunk += `${count === 0 ? '' : ','}${JSON.stringify(row(record))}`;
    if (++count % RECORDS_PER_CHUNK > 0) continue;
    yield chunk;
    chunk = '';
  }
  yield `${chunk}]`;
}
