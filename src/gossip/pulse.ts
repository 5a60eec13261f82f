/**
 * When a neighbour's silence means something: pure functions of time.
 *
 * Every node beats on each of its links every BEAT_MS, or beside the stream (asides.ts) every ASIDE_MS, and any frame
 * counts as a beat. A neighbour that is silent for ASK_AFTER_MS is asked at the next beat, or at once where a datagram was
 * lost before, and given up for the time being after `silenceMs`. Over a stream a lost packet
 * is a delay of 200 ms, 600 ms when it is lost twice in a row: less than ALLOWANCE_MS, so that it takes three losses in a
 * row to err, and then the link only rests until the next frame. A link that is late often is given more.
 */

export const BEAT_MS = 900;
/** As often as a node beats at all: on half of its streams each time. */
export const ASIDE_MS = BEAT_MS / 2;
/** One has come too late to have been on its way. */
export const MISSED_MS = ASIDE_MS + 50;
/** More than the beats' own irregularity. */
const ASK_MS = 100;
export const ASK_AFTER_MS = BEAT_MS + ASK_MS;
/** One datagram is missing, and not just late. */
export const ASK_ASIDE_AFTER_MS = ASIDE_MS + 150;
/** Nobody is given up before it had this long to answer: what it said may wait here, when this node could not run. */
export const ANSWER_MS = 50;
const ALLOWANCE_MS = 650;
/** When other neighbours of the peer have given it up, its silence is probably death. */
const SHORT_ALLOWANCE_MS = 300;
/** After beats beside the stream: two may be lost, and the question and its answer once each. */
const ASIDE_ALLOWANCE_MS = 650;
/** Just as much: with the question and its answer lost once each, the answer comes 1.0 s after the last beat. */
const SHORT_ASIDE_ALLOWANCE_MS = 550;
/**
 * More of both for each tenfold of more than TEN nodes: who stalls is given up by all of its neighbours, and each of them
 * tells everybody. A thousand nodes of which some stall say a third less for the 0.2 s.
 */
const ASIDE_TENFOLD_MS = 90;
const TEN = 10;
const MAX_TENFOLDS = 2;
const MAX_ALLOWANCE_MS = 4_000;
/** Others that have given a peer up, from which the shorter allowance holds. */
export const CONFIRMATIONS = 2;
/** Share of the remembered lateness that is left after one more beat. */
const DECAY = 0.95;

/**
 * When to beat after the beat that was due at `dueAt`: half of the links each time. `chance` in [0, 1) keeps nodes from
 * beating in step.
 */
export function nextBeatAt(dueAt: number, now: number, chance: number): number {
  const halfMs = BEAT_MS / 2;
  return Math.max(dueAt, now - halfMs / 2) + halfMs * (0.95 + chance / 10);
}

/** Remembered lateness after a frame that came `gapMs` after the one before it. */
export function nextLateness(lateMs: number, gapMs: number): number {
  const late = gapMs - BEAT_MS;
  const decayed = gapMs > BEAT_MS / 2 ? lateMs * DECAY : lateMs;
  return Math.min(MAX_ALLOWANCE_MS, Math.max(decayed, late, 0));
}

export interface Silence {
  readonly lateMs: number;
  /** Of this node, see awake.ts: its doubt of itself, which ends when others have noticed the same. */
  readonly strain: number;
  /** Other neighbours of the peer have given it up. */
  readonly isConfirmed: boolean;
  /** It beats beside the stream. */
  readonly isAside: boolean;
  /** In the cluster. */
  readonly nodes: number;
}

export function silenceMs({ lateMs, strain, isConfirmed, isAside, nodes }: Silence): number {
  const more = isAside ? ASIDE_TENFOLD_MS * tenfolds(nodes) : 0;
  const short = more + (isAside ? SHORT_ASIDE_ALLOWANCE_MS : SHORT_ALLOWANCE_MS);
  const usual = more + (isAside ? ASIDE_ALLOWANCE_MS : ALLOWANCE_MS);
  const allowance = isConfirmed ? Math.max(short, 1.25 * lateMs) : Math.max(usual, usual / 2 + 1.5 * lateMs);
  const doubt = isConfirmed ? 1 : 1 + strain;
  return (isAside ? ASIDE_MS : BEAT_MS) + Math.min(MAX_ALLOWANCE_MS, allowance) * doubt;
}

function tenfolds(nodes: number): number {
  return Math.min(MAX_TENFOLDS, Math.max(0, Math.log10(nodes / TEN)));
}
