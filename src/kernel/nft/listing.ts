/**
 * What `nft -j list table` says, reduced to what tells a table that was changed from one that was not.
 *
 * Counted: flags of the table, chains with hook, priority and policy, rules in their order, set declarations. Not
 * counted: handles, counters, elements of named sets and the order of declarations, which all change without anybody
 * editing the ruleset.
 */
import { createHash } from 'node:crypto';
import { PortolanError } from '../../base/errors.ts';

/** Equal text = the same chains, rules and declarations. */
export function fingerprintOf(listing: unknown): string {
  const rules: string[] = [];
  const declarations: string[] = [];
  for (const object of objectsOf(listing)) {
    const [kind, body] = Object.entries(object)[0] ?? ['', undefined];
    if (kind === 'metainfo') continue;
    const text = JSON.stringify({ [kind]: withoutState(kind, body) });
    if (kind === 'rule') rules.push(text);
    else declarations.push(text);
  }
  const digest = createHash('sha256');
  for (const text of [...declarations.sort(), ...rules]) digest.update(text).update('\n');
  return digest.digest('base64url');
}

/** The list under `nftables`, which every JSON answer of nft has. */
export function objectsOf(listing: unknown): readonly object[] {
  const objects = isObject(listing) ? listing['nftables'] : undefined;
  if (!Array.isArray(objects) || !objects.every(isObject))
    throw new PortolanError('internal', 'Reading nft output: it is not the JSON of libnftables');
  return objects;
}

function withoutState(kind: string, body: unknown): unknown {
  if (!isObject(body)) return body;
  const kept = Object.entries(body).filter(
    ([key]) => key !== 'handle' && !((kind === 'set' || kind === 'map') && key === 'elem'),
  );
  return Object.fromEntries(kept.map(([key, value]) => [key, key === 'expr' ? withoutCounts(value) : value]));
}

/** Rule expressions nest; a counter with numbers is `{"counter": {"packets": 1, "bytes": 2}}` at any depth. */
function withoutCounts(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutCounts);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      key === 'counter' && isObject(inner) ? null : withoutCounts(inner),
    ]),
  );
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
