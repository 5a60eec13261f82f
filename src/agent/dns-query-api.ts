/** `GET /v1/dns/query`: one name asked as a client would, and where the answer comes from. */
import type { Hono } from 'hono';
import { PortolanError } from '../base/errors.ts';
import type { Clock } from '../base/clock.ts';
import { parseIp } from '../base/ip.ts';
import { types } from '../dns/constants.ts';
import { encodeQuery, readMessage, typeNames, typeNumber } from '../dns/message.ts';
import { nameKey } from '../dns/name.ts';
import { reverseName } from '../dns/reverse.ts';
import { upstreamText } from '../dns/upstreams.ts';
import type { DnsServer } from './dns-server.ts';
import type { Dns } from './dns.ts';

export function addDnsQueryRoute(app: Hono, components: { readonly dns: Dns; readonly clock: Clock }): void {
  app.get('/v1/dns/query', async (context) => {
    const { name = '', type = 'A' } = context.req.query();
    return context.json(await query(components, name, type));
  });
}

async function query(
  { dns, clock }: { readonly dns: Dns; readonly clock: Clock },
  name: string,
  type: string,
): Promise<object> {
  const number = typeNumber(type);
  if (number === undefined)
    throw new PortolanError('invalid', `Cannot ask for "${type}": it is no type of DNS records`, {
      field: 'type',
      remedy: `use one of ${typeNames.join(', ')}, or TYPE and a number`,
    });
  const address = number === types.PTR ? parseIp(name) : undefined;
  const asked = address === undefined ? name : reverseName(address);
  const packet = name === '' ? undefined : encodeQuery(asked, number);
  if (packet === undefined)
    throw new PortolanError('invalid', `Cannot ask for "${name}": it is no DNS name`, {
      field: 'name',
      remedy: 'give labels of at most 63 characters with dots between, such as web.marathon.mesos',
    });
  const server = dns.server();
  if (server === undefined)
    throw new PortolanError('unavailable', 'Cannot ask: the DNS server of this host does not run', {
      remedy: dns.status().error ?? "set dns.enabled in the agent's configuration",
    });
  const startMs = clock.nowMs();
  const answer = await server.ask(packet);
  const read = answer === undefined ? undefined : readMessage(answer);
  if (read === undefined) throw new PortolanError('internal', `Cannot read the answer for "${name}"`);
  return {
    name: asked,
    type: type.toUpperCase(),
    rcode: read.rcode,
    ...sourceOf(dns, server, asked, number),
    took_ms: Math.round((clock.nowMs() - startMs) * 1000) / 1000,
    answers: read.answers,
  };
}

/** The zone of the cluster's, or the forward zone with the servers that such names are for. */
function sourceOf(dns: Dns, server: DnsServer, name: string, type: number): object {
  const own = dns.names.answerer.resolve(name, type)?.zone;
  if (own !== undefined) return { source: 'cluster', zone: own };
  const { zone, upstreams } = server.route(nameKey(name) ?? '');
  return { source: 'upstream', zone, upstreams: upstreams.map(upstreamText) };
}
