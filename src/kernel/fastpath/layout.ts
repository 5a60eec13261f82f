/**
 * What the programs of the fast path keep: the flow of a frame, what is asked about it, what was learnt.
 *
 * All maps but that of ports are of one CPU each: a frame is worked at by one CPU from the link it enters to the link it
 * leaves, without another in between, so that nothing is ever read half written.
 */

/** A TCP flow as it enters this host, and the link it enters by. Addresses of IPv4 fill four bytes, the rest is zero. */
export const FLOW = {
  link: 0,
  /** The EtherType as the frame has it. */
  family: 4,
  source: 8,
  destination: 24,
  /** Source and destination, as the segment has them. */
  ports: 40,
  bytes: 48,
} as const;

/** The last large segment that was not known: the kernel is at it. */
export const QUESTION = {
  flow: 0,
  sequence: 48,
  acknowledgment: 52,
  hops: 56,
  /** 1 = not answered yet. */
  open: 60,
  /** The first bytes of the IP header, with the class of traffic. */
  head: 64,
  bytes: 72,
} as const;

/** What the kernel did with such a segment. */
export const ANSWER = {
  flow: 0,
  /** Nanoseconds of CLOCK_MONOTONIC_COARSE. */
  until: 48,
  /** The port of the container. */
  out: 56,
  /** The largest segment size that is known to fit. */
  segment: 60,
  source: 64,
  destination: 80,
  ports: 96,
  /** How much fewer the hops are: 0 = bridged, 1 = routed. */
  hops: 100,
  /** 1 = an address or a port is another one. */
  translated: 104,
  ethernet: 108,
  bytes: 128,
} as const;

/** A power of two; flows whose hashes meet take turns. */
export const ANSWERS = 512;

/** By the index of a container's port, its MAC. */
export const PORT = { keyBytes: 4, valueBytes: 8, entries: 8192 } as const;

/** Counters, one each. */
export const COUNTS = { passed: 0, learnt: 1 } as const;
export const COUNT_BYTES = 8;
