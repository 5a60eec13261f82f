/**
 * Beats beside the stream: small datagrams that wake nobody.
 *
 * A beat over a stream wakes the process that it is for, which is most of what an idle node does. A datagram waits in its
 * socket until that node beats itself. It may be lost, so each link has one at every beat, twice as often as a frame; it
 * says what the sender holds, by hash, so that two nodes that hold the same need not compare.
 * Invariants: whoever does not hear that its datagrams are heard beats over the stream as well, so that a firewall costs
 * nothing but wake-ups; what is heard is judged by the time at which it came.
 */
import type { Link } from './links.ts';
import { BEAT_MS } from './pulse.ts';

/** The first version that hears them. */
const SINCE_PROTOCOL = 3;
/** Without any for so long, they do not get through: four in a row were lost. */
const FRESH_MS = 2.5 * BEAT_MS;
const HEARD = '+';
const UNHEARD = '-';
const MAX_BYTES = 64;

export interface Aside {
  readonly connection: number;
  readonly bytes: Uint8Array;
  /** Since it came. */
  readonly ageMs: number;
}

export function areSpokenBy(protocol: number): boolean {
  return protocol >= SINCE_PROTOCOL;
}

/** What it says: whether those of `link` are heard, and `held`, the hash of everything. */
export function encodeAside(link: Link, held: string, at: number): Uint8Array {
  return Buffer.from((isHeard(link, at) ? HEARD : UNHEARD) + held, 'latin1');
}

/** Takes what one says that came at `at`; false when it says nothing. */
export function takeAside(link: Link, bytes: Uint8Array, held: string, at: number): boolean {
  if (bytes.length === 0 || bytes.length > MAX_BYTES) return false;
  const text = Buffer.from(bytes).toString('latin1');
  if (text[0] !== HEARD && text[0] !== UNHEARD) return false;
  link.asideAt = Math.max(link.asideAt, at);
  link.isHeardAside = text[0] === HEARD;
  link.holdsSame = text.slice(1) === held;
  return true;
}

/** They come from the peer. */
export function isHeard(link: Link, at: number): boolean {
  return at - link.asideAt < FRESH_MS;
}

/** They go both ways. */
export function areExchanged(link: Link, at: number): boolean {
  return link.isHeardAside && isHeard(link, at);
}

/** The peer said at its last beat that it holds what this node held. */
export function hasCompared(link: Link, at: number): boolean {
  return link.holdsSame && at - link.asideAt < BEAT_MS;
}
