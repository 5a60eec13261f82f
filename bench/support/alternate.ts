/**
 * Sides measured in turn, again and again, so that the machine's moods hit all alike: compared is what was measured
 * within one repetition, and told the median of all.
 */
import { median } from './stats.ts';

/** What each side gave in each repetition. */
export type Measured<Side extends string> = Readonly<Record<Side, readonly number[]>>;

/** Every repetition begins with another side. */
export async function alternate<Side extends string>(
  sides: Readonly<Record<Side, () => Promise<number>>>,
  repetitions: number,
): Promise<Measured<Side>> {
  const names = Object.keys(sides) as Side[];
  const measured = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Side, number[]>;
  for (let i = 0; i < repetitions; i++)
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(i + turn) % names.length];
      if (name !== undefined) measured[name].push(await sides[name]());
    }
  return measured;
}

/** Figures whose ratio is the median of the repetitions' ratios, beside the peer's own median. */
export function compare(ours: readonly number[], peers: readonly number[]): { ours: number; peer: number } {
  const peer = median(peers);
  return { ours: median(ours.map((each, i) => each / (peers[i] ?? 0))) * peer, peer };
}
