/** `GET /v1/trace?from=A&to=B:port`: the whole way. `POST /v1/trace/leg`: this host's part, for other agents. */
import type { Hono } from 'hono';
import { z } from 'zod';
import { ip } from '../../base/ip.ts';
import type { Kernel } from '../../kernel/types.ts';
import { TRACE_LEG_PATH, TRACE_PATH, traceLegRequest } from '../../model/trace.ts';
import type { Parts } from '../session.ts';
import { observeHost } from './observe.ts';
import { Tracer } from './tracer.ts';

const question = z.object({
  from: z.string(),
  to: z.string(),
  protocol: z.enum(['tcp', 'udp']).default('tcp'),
  /** Set by the agent that asked on: no second time. */
  forwarded: z.stringbool().default(false),
});

export function addTraceRoutes(app: Hono, tracer: Tracer): void {
  app.get(TRACE_PATH, async (context) => {
    const { forwarded, ...asked } = question.parse(context.req.query());
    return context.json(await tracer.trace(asked, { forward: !forwarded }));
  });
  app.post(TRACE_LEG_PATH, async (context) =>
    context.json(await tracer.leg(traceLegRequest.parse(await context.req.json()))),
  );
}

export function createTracer(kernel: Kernel, parts: Parts): Tracer {
  const { records, attachments, states, node, name, vips } = parts;
  const bridgeOf = (overlay: string): string | undefined =>
    states.overlays().find(({ info }) => info.name === overlay)?.docker_bridge?.name;
  return new Tracer(
    { kernel, records },
    {
      host: name,
      observe: (concerned) =>
        observeHost(kernel, {
          host: name,
          attachments: attachments.records(),
          docker: records
            .endpoints()
            .filter((each) => each.node === node && each.source === 'docker')
            .flatMap((endpoint) => {
              const bridge = bridgeOf(endpoint.network);
              return bridge === undefined ? [] : [{ endpoint, bridge }];
            }),
          vip: (address, protocol, port) => vips.backendsAt(address, protocol, port),
          concerned,
        }),
      vipAddresses: (text, at) =>
        (at === undefined
          ? vips.view.addressesOf(text)
          : vips.view.addressesAt(text, at.port, at.protocol)
        ).map(String),
      backendOf: ({ destination, protocol, port }) => {
        if (protocol === 'icmp' || port === undefined) return undefined;
        const backends = vips.backendsAt(ip(destination), protocol, port);
        return backends?.find(({ weight }) => weight > 0)?.address.toString();
      },
    },
  );
}
