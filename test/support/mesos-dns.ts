/**
 * What Mesos-DNS makes of a master's `/state`: its rules, written down anew after its sources (records/generator.go and
 * records/state/state.go), with its default sources of addresses (`netinfo`, `mesos`, `host`).
 *
 * The schema names every member that it parses, with the type that it would refuse another than.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';

const pid = z.string().regex(/^.+@.+:[0-9]+$/);
const labels = z.array(z.object({ key: z.string(), value: z.string() }));
const networkInfo = z.object({
  ip_addresses: z.array(z.object({ ip_address: z.string() })).default([]),
  name: z.string().optional(),
});
const status = z.object({
  timestamp: z.number(),
  state: z.string(),
  labels: labels.default([]),
  container_status: z.object({ network_infos: z.array(networkInfo).default([]) }).optional(),
});
const port = z.object({
  protocol: z.string().default(''),
  number: z.int(),
  name: z.string().default(''),
  labels: z.object({ labels: labels.default([]) }).default({ labels: [] }),
});
const task = z.object({
  framework_id: z.string(),
  id: z.string(),
  name: z.string(),
  slave_id: z.string(),
  state: z.string(),
  statuses: z.array(status),
  resources: z.object({ ports: z.string().default('') }),
  discovery: z
    .object({
      visibility: z.string(),
      name: z.string(),
      ports: z.object({ ports: z.array(port).default([]) }).default({ ports: [] }),
    })
    .optional(),
});
export const mesosState = z.object({
  leader: pid,
  slaves: z.array(z.object({ id: z.string(), hostname: z.string(), pid })),
  frameworks: z.array(z.object({ name: z.string(), pid, hostname: z.string(), tasks: z.array(task) })),
});
export type MesosState = z.infer<typeof mesosState>;

/** Name to answers, as its API writes them: with a dot at the end, SRV as `target:port`. */
export interface Names {
  readonly addresses: ReadonlyMap<string, ReadonlySet<string>>;
  readonly services: ReadonlyMap<string, ReadonlySet<string>>;
}

const DOMAIN = 'mesos.';

export function namesOf(state: MesosState, masters: readonly string[]): Names {
  const addresses = new Map<string, Set<string>>();
  const services = new Map<string, Set<string>>();
  const add = (names: Map<string, Set<string>>, name: string, value: string): void => {
    const known = names.get(name) ?? new Set();
    names.set(name, known.add(value));
  };
  const a = (name: string, address: string): void => add(addresses, name, address);
  const srv = (name: string, target: string): void => add(services, name, target);
  for (const framework of state.frameworks) {
    const [host, number] = hostPort(framework.pid);
    const name = `${fragment(framework.name)}.${DOMAIN}`;
    a(name, host);
    srv(`_framework._tcp.${name}`, `${name}:${number}`);
  }
  const agents = new Map<string, string>();
  for (const slave of state.slaves) {
    const [host, number] = hostPort(slave.pid);
    a(`slave.${DOMAIN}`, host);
    srv(`_slave._tcp.${DOMAIN}`, `slave.${DOMAIN}:${number}`);
    agents.set(slave.id, host);
  }
  const [leader, leaderPort] = hostPort(state.leader);
  a(`leader.${DOMAIN}`, leader);
  a(`master.${DOMAIN}`, leader);
  for (const protocol of ['tcp', 'udp'])
    srv(`_leader._${protocol}.${DOMAIN}`, `leader.${DOMAIN}:${leaderPort}`);
  masters.forEach((master, i) => {
    a(`master.${DOMAIN}`, master);
    a(`master${i}.${DOMAIN}`, master);
  });
  for (const framework of state.frameworks)
    for (const each of framework.tasks) {
      const agent = agents.get(each.slave_id);
      if (agent !== undefined && each.state === 'TASK_RUNNING')
        taskNames(each, { framework: fragment(framework.name), agent, a, srv });
    }
  return { addresses, services };
}

interface Context {
  readonly framework: string;
  readonly agent: string;
  readonly a: (name: string, address: string) => void;
  readonly srv: (name: string, target: string) => void;
}

function taskNames(each: z.infer<typeof task>, { framework, agent, a, srv }: Context): void {
  const named = each.discovery?.name ?? '';
  const names = named === '' ? [label(each.name)] : [named, label(named)];
  for (const name of names) {
    const tail = each.slave_id.slice(each.slave_id.lastIndexOf('-') + 1).toLowerCase();
    const canonical = `${name}-${hash(each.id)}-${tail}.${framework}`;
    const own = addressesOf(each, agent);
    for (const address of own)
      for (const each of [`${name}.${framework}`, canonical]) a(`${each}.${DOMAIN}`, address);
    for (const each of [`${name}.${framework}`, canonical]) a(`${each}.slave.${DOMAIN}`, agent);
    for (const number of portsOf(each.resources.ports))
      for (const protocol of ['tcp', 'udp'])
        srv(`_${name}._${protocol}.${framework}.slave.${DOMAIN}`, `${canonical}.slave.${DOMAIN}:${number}`);
    for (const { protocol, number, name: portName } of each.discovery?.ports.ports ?? [])
      for (const transport of protocol === '' ? ['tcp', 'udp'] : [protocol])
        for (const prefix of portName === '' ? [''] : ['', `_${label(portName)}.`])
          srv(`${prefix}_${name}._${transport}.${framework}.${DOMAIN}`, `${canonical}.${DOMAIN}:${number}`);
  }
}

/** At most one of each family, from the first source that has any. */
function addressesOf(each: z.infer<typeof task>, agent: string): readonly string[] {
  const [latest] = each.statuses
    .filter(({ state }) => state === 'TASK_RUNNING')
    .toSorted((x, y) => y.timestamp - x.timestamp);
  const told = (latest?.container_status?.network_infos ?? []).flatMap((info) =>
    info.ip_addresses.map(({ ip_address }) => ip_address),
  );
  const found = told.length > 0 ? told : [agent];
  return [false, true].flatMap((isSix) => found.find((address) => address.includes(':') === isSix) ?? []);
}

function hostPort(text: string): [string, string] {
  const at = text.slice(text.indexOf('@') + 1);
  const colon = at.lastIndexOf(':');
  return [at.slice(0, colon).replace(/^\[|\]$/g, ''), at.slice(colon + 1)];
}

/** `[31000-31001, 31005-31005]` */
function portsOf(text: string): readonly number[] {
  return [...text.matchAll(/([0-9]+)-([0-9]+)/g)].flatMap(([, from, to]) =>
    Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) => Number(from) + i),
  );
}

const fragment = (text: string): string =>
  text
    .split('.')
    .map((part) => label(part))
    .join('.');
/** RFC 1123. */
const label = (text: string): string =>
  text
    .toLowerCase()
    .replaceAll(/[._]/g, '-')
    .replaceAll(/[^a-z0-9-]/g, '');

const ALPHABET = 'ybndrfg8ejkmcpqxot1uwisza345h769';
/** The first five characters of zbase32 of SHA-1. */
function hash(text: string): string {
  const bits = [...createHash('sha1').update(text).digest().subarray(0, 4)]
    .map((byte) => byte.toString(2).padStart(8, '0'))
    .join('');
  return [0, 5, 10, 15, 20].map((at) => ALPHABET[Number.parseInt(bits.slice(at, at + 5), 2)] ?? '').join('');
}
