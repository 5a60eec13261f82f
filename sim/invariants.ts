/** What has to hold over all nodes at once: checked at intervals, and wholly at the end. */
import { compareVersions, type GossipRecord } from '../src/model/record.ts';
import { MAX_QUEUED_BYTES } from '../src/peer/types.ts';
import type { Cluster } from './cluster.ts';
import type { Host } from './host.ts';

/** Records that one node may have waiting to be told to its peers: twice what they all have. */
const QUEUE_FACTOR = 40;

/** Every running node holds the same. */
export function areEqual(cluster: Cluster): boolean {
  let hash: string | undefined;
  for (const { program } of cluster.hosts) {
    if (program === undefined) continue;
    const digest = program.digest();
    hash ??= digest.hash;
    if (digest.hash !== hash) return false;
  }
  return true;
}

/** Cheap enough for every few virtual seconds. */
export function checkBounds(cluster: Cluster): void {
  const limit = QUEUE_FACTOR * Math.max(64, mostRecords(cluster));
  for (const host of cluster.running) {
    const depth = host.program?.stats().queueDepth ?? 0;
    if (depth > limit) cluster.observer.violation(`host ${host.index} has ${depth} records waiting`);
    for (const stream of host.link.streams)
      if (stream.queuedBytes > MAX_QUEUED_BYTES)
        cluster.observer.violation(`host ${host.index} has ${stream.queuedBytes} bytes waiting for one peer`);
  }
  checkHolders(cluster);
}

/** No VTEP and no block has two live holders; a removed node is none. */
export function checkHolders(cluster: Cluster): void {
  const holders = new Map<string, Host>();
  for (const host of cluster.running) {
    if (cluster.observer.isRemoved(host.node)) continue;
    for (const [key, value] of host.own) {
      if (!key.includes('/overlay/')) continue;
      const { subnet, vtep_ip } = value as { subnet: string; vtep_ip: string };
      for (const what of [subnet, vtep_ip]) {
        const other = holders.get(what);
        if (other !== undefined)
          cluster.observer.violation(`hosts ${other.index} and ${host.index} both hold ${what}`);
        holders.set(what, host);
      }
    }
  }
}

/** After healing and some time: everybody has every live node's records, and nothing of removed ones. */
export function checkAll(cluster: Cluster): void {
  const { observer, running } = cluster;
  checkBounds(cluster);
  const groups = new Set(running.map(({ program }) => program?.digest().hash));
  if (groups.size > 1) observer.violation(`${groups.size} different stores where there should be one`);
  for (const viewer of running) checkRemoved(cluster, viewer);
  for (const author of running) if (!observer.isRemoved(author.node)) checkAuthor(cluster, author);
}

function checkRemoved(cluster: Cluster, viewer: Host): void {
  for (const node of cluster.observer.removedNodes)
    for (const { key, value } of viewer.program?.records(`node/${node}/`) ?? [])
      if (value !== null)
        cluster.observer.violation(`host ${viewer.index} still holds "${key}" of a removed node`);
}

/** What it has published is what it holds; and what a few others hold, record by record. */
function checkAuthor(cluster: Cluster, author: Host): void {
  const prefix = `node/${author.node}/`;
  const held = new Map(
    Array.from(author.program?.records(prefix) ?? [], (record: GossipRecord) => [record.key, record]),
  );
  for (const [key, value] of author.own)
    if (JSON.stringify(held.get(key)?.value) !== JSON.stringify(value))
      cluster.observer.violation(`host ${author.index} has lost its own "${key}"`);
  for (const viewer of cluster.pick(3)) {
    let count = 0;
    for (const record of viewer.program?.records(prefix) ?? []) {
      const own = held.get(record.key);
      count++;
      if (own === undefined || compareVersions(own.version, record.version) !== 0)
        cluster.observer.violation(
          `host ${viewer.index} differs from host ${author.index} in "${record.key}"`,
        );
    }
    if (count !== held.size)
      cluster.observer.violation(
        `host ${viewer.index} holds ${count} records of host ${author.index}, which has ${held.size}`,
      );
  }
}

function mostRecords(cluster: Cluster): number {
  let most = 0;
  for (const { program } of cluster.running) most = Math.max(most, program?.digest().records ?? 0);
  return most;
}
