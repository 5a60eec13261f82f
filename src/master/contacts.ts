/** Whom a node that registers should exchange records with first. */
import { randomBelow, type Random } from '../base/random.ts';
import type { NodeId } from '../model/names.ts';
import type { NodeEntry } from './stored.ts';

/** Enough that some answer when most hosts are down; any one of them knows all the others. */
const MAX_NODES = 15;

/** `host:port`, `masters` first, then other nodes by chance so that none serves every newcomer. */
export function chooseContacts(
  random: Random,
  node: NodeId,
  masters: readonly string[],
  nodes: readonly NodeEntry[],
): readonly string[] {
  const others = nodes.filter((each) => each.node !== node && each.superseded_by === undefined);
  // The first steps of a Fisher-Yates shuffle.
  for (let i = 0; i < Math.min(MAX_NODES, others.length); i++) {
    const j = i + randomBelow(random, others.length - i);
    const [a, b] = [others[i], others[j]];
    if (a !== undefined && b !== undefined) [others[i], others[j]] = [b, a];
  }
  const chosen = others.slice(0, MAX_NODES).map((each) => hostPort(each.address, each.gossip_port));
  return [...new Set([...masters, ...chosen])];
}

export function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
