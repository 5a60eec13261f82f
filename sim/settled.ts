/**
 * A large cluster that has been running for long, without its start.
 *
 * When a thousand nodes start within a second, each sends its row to all others every time it gains a neighbour: minutes
 * of processor time, the same before each scenario. So while they find their neighbours, as ever, by what they say to
 * each other, their rows go nowhere; then everybody gets the rows of all at once, over one of its connections, as from a
 * neighbour. Starting for real is the scenario `join-storm`, and what few nodes do.
 */
import { encodeMessage, decodeMessage } from '../src/gossip/codec.ts';
import type { Handle, Row } from '../src/gossip/nodes.ts';
import type { Cluster } from './cluster.ts';

/** Most have their neighbours by then, and nobody has yet been called unreachable for having said nothing. */
const FINDING_MS = 4_000;
/** In which everybody would pass on to the others what they were all given. */
const PASSING_ON_MS = 1_000;
const LARGE_BYTES = 8 * 1024;
const ROWS_PER_FRAME = 500;

const rowTypes = ['rows', 'have', 'row-hashes', 'row-versions'].map((type) =>
  Buffer.from(`{"type":"${type}"`),
);

/** Hosts start within the first second of it. */
export async function settle(cluster: Cluster): Promise<void> {
  const rows = new Map<Handle, Row>();
  cluster.network.drops = (frame) => {
    if (!isOfRows(frame)) return false;
    collect(rows, frame);
    return true;
  };
  await cluster.run(FINDING_MS);
  cluster.network.drops = undefined;
  tell(cluster, frames(Array.from(rows.values())));
  cluster.network.drops = (frame) => frame.length > LARGE_BYTES && isOfRows(frame);
  await cluster.run(PASSING_ON_MS);
  cluster.network.drops = undefined;
}

function isOfRows(frame: Uint8Array): boolean {
  return rowTypes.some((start) => start.every((byte, i) => frame[i] === byte));
}

function collect(rows: Map<Handle, Row>, frame: Uint8Array): void {
  const decoded = decodeMessage(frame);
  if (!decoded.ok || decoded.message.type !== 'rows') return;
  for (const row of decoded.message.rows) {
    const [handle, epoch, sequence] = row;
    const [, epochBefore = 0, sequenceBefore = 0] = rows.get(handle) ?? [];
    if ((epoch - epochBefore || sequence - sequenceBefore) > 0) rows.set(handle, row);
  }
}

function frames(rows: readonly Row[]): Uint8Array[] {
  const made: Uint8Array[] = [];
  for (let at = 0; at < rows.length; at += ROWS_PER_FRAME)
    made.push(encodeMessage({ type: 'rows', rows: rows.slice(at, at + ROWS_PER_FRAME) }));
  return made;
}

/** Each host is told by one of its neighbours. */
function tell(cluster: Cluster, all: readonly Uint8Array[]): void {
  const left = new Set(cluster.running.map(({ link }) => link));
  for (const { link } of cluster.running)
    for (const stream of link.streams)
      if (left.has(stream.to) && all.every((frame) => stream.send(frame))) left.delete(stream.to);
}
