/**
 * The packet tracer's answers: where a packet from A to B goes, hop by hop, and why it does not arrive.
 *
 * Each agent tells the part that its own kernel decides; the agent of the source puts the parts together.
 */
import { z } from 'zod';
import { ipText, macText } from './text.ts';

export const traceHop = z.object({
  /** Name of the host on which it is decided. */
  host: z.string(),
  at: z.enum([
    'container',
    'bridge',
    'vip',
    'host-port',
    'firewall',
    'policy-routing',
    'route',
    'neighbour',
    'tunnel',
    'underlay',
    'listener',
  ]),
  ok: z.boolean(),
  /** What the kernel has, in the words of iproute2 where it has any. */
  what: z.string(),
  /** Why the packet ends here. */
  reason: z.string().optional(),
  remedy: z.string().optional(),
  /** Why it may end here all the same: rules of other programs that the tracer cannot evaluate. */
  doubts: z.array(z.string()).optional(),
});
export type TraceHop = z.infer<typeof traceHop>;

export const tracePacket = z.object({
  source: ipText,
  destination: ipText,
  protocol: z.enum(['tcp', 'udp', 'icmp']),
  /** Absent for icmp. */
  port: z.int().min(1).max(65_535).optional(),
  /** Of an answer: the port that was asked. */
  sourcePort: z.int().min(1).max(65_535).optional(),
});
export type TracePacket = z.infer<typeof tracePacket>;

/** What is around the packet between two hosts. */
export const traceTunnel = z.object({
  outerSource: ipText,
  outerDestination: ipText,
  innerMac: macText,
  vni: z.int(),
  port: z.int(),
});
export type TraceTunnel = z.infer<typeof traceTunnel>;

/** One host's part of the way. */
export const traceLeg = z.object({
  hops: z.array(traceHop),
  /** As it leaves this part: a VIP or a host port has changed its destination. */
  packet: tracePacket,
  end: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('delivered'), to: z.string() }),
    z.object({ kind: z.literal('tunnel'), tunnel: traceTunnel }),
    /** By a link that leads to no overlay: what comes then is not known here. */
    z.object({ kind: z.literal('left'), link: z.string() }),
    z.object({ kind: z.literal('stopped') }),
  ]),
});
export type TraceLeg = z.infer<typeof traceLeg>;

/** `GET /v1/trace?from=A&to=B:port&protocol=tcp` */
export const traceResult = z.object({
  from: z.string(),
  to: z.string(),
  packet: tracePacket,
  /** True with doubts = no reason was found why it should not. */
  arrives: z.boolean(),
  /** Absent when it arrives, and its answer too. */
  reason: z.string().optional(),
  remedy: z.string().optional(),
  /** Those of all hops. */
  doubts: z.array(z.string()).default([]),
  hops: z.array(traceHop),
  /** The way of the answer. */
  back: z.array(traceHop),
});
export type TraceResult = z.infer<typeof traceResult>;

export const TRACE_PATH = '/v1/trace';
/** `POST`: one host's part, asked by the agent of another one. */
export const TRACE_LEG_PATH = '/v1/trace/leg';
/** Body of TRACE_LEG_PATH. */
export const traceLegRequest = z.object({
  packet: tracePacket,
  /** Present = the packet comes out of the tunnel; absent = it starts here, from `packet.source`. */
  tunnel: traceTunnel.optional(),
  /** True for an answer: no VIP or host port is meant by its destination, and no listener is needed. */
  answer: z.boolean(),
});
export type TraceLegRequest = z.infer<typeof traceLegRequest>;
