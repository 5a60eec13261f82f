/** `GET /v1/dns/query`: one name asked as a client would, and where the answer comes from. */
import type { Hono } from 'hono';
import { PortolanError } from '../base/errors.ts';
import type { Clock } from '../base/clock.ts';
import { parseIp } from '../base/ip.ts';
import { types } from '../dns/constants.ts';
import { encodeQuery, readMessage, typeNames, typeNumber } from '../dns/message.ts';
import { reverseName } from '../dns/reverse.ts';
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
  const zone = dns.names.answerer.resolve(asked, number)?.zone;
  return {
    name: asked,
    type: type.toUpperCase(),
    rcode: read.rcode,
    source: zone === undefined ? 'upstream' : 'cluster',
    zone: zone ?? '.',
    took_ms: Math.round((clock.nowMs() - startMs) * 1000) / 1000,
    answers: read.answers,
  };
}
