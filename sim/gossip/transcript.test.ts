/**
 * Transcripts: a command, four dashes, and what the core really did. `vitest -u` rewrites them; commit the difference
 * only when you understand what caused it and it is what should happen.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { newClusterId, newNodeId, type ClusterId } from '../../src/model/names.ts';
import { keys, type RecordValue } from '../../src/model/record.ts';
import { BUCKETS } from '../../src/gossip/hash.ts';
import { decodeMessage } from '../../src/gossip/codec.ts';
import { GossipCore } from '../../src/gossip/core.ts';
import type { GossipEvent } from '../../src/gossip/events.ts';
import { RecordStore } from '../../src/gossip/records.ts';

interface Peer {
  readonly core: GossipCore;
  readonly id: string;
}

/** Cores joined by queues instead of sockets. Connection `n` of one end is connection `n` of the other. */
class Stage {
  readonly #random = seededRandom(1);
  readonly #cluster = newClusterId(this.#random);
  readonly #peers = new Map<string, Peer>();
  readonly #ends = new Map<number, readonly [string, string]>();
  #queue: { readonly to: string; readonly event: GossipEvent; readonly what: string }[] = [];
  #now = 0;
  #output: string[] = [];

  run(line: string): string {
    this.#output = [];
    const [command = '', ...words] = line.split(' ');
    this.#command(command, words);
    return this.#readable(this.#output.join('\n'));
  }

  #command(command: string, [first = '', second = '', ...rest]: string[]): void {
    if (command === 'node') this.#node(first, second === '' ? this.#cluster : newClusterId(this.#random));
    else if (command === 'publish') {
      const key = `node/${this.#peer(first).id}/${second}`;
      this.#step(first, { on: 'write', values: new Map([[key, JSON.parse(rest.join(' ')) as RecordValue]]) });
    } else if (command === 'remove') {
      const { id } = this.#peer(second);
      const key = `cluster/removed/${id}`;
      this.#step(first, {
        on: 'write-cluster',
        key,
        value: { node: id, grant_epoch: 1 },
        revision: Number(rest[0]),
      });
    } else if (command === 'connect') this.#connect(first, second);
    else if (command === 'inject') this.#inject(first, [second, ...rest].join(' '));
    else if (command === 'tick') this.#tick(Number(first));
    else if (command === 'contact') this.#step(first, { on: 'contacts', addresses: [`${second}:1`] });
    else if (command === 'neighbours') this.#neighbours(first);
    else if (command === 'lose') this.#queue = [];
    else if (command === 'deliver') this.#deliver();
    else if (command === 'records') this.#records(first);
    else throw new Error(`no such command: ${command}`);
  }

  #node(name: string, cluster: ClusterId): void {
    const node = newNodeId(this.#random);
    const core = new GossipCore({ random: this.#random, store: new RecordStore() }, { node, epoch: 1 });
    this.#peers.set(name, { core, id: node });
    this.#step(name, { on: 'cluster', cluster, isOther: false, port: 1 });
  }

  #peer(name: string): Peer {
    const peer = this.#peers.get(name);
    if (peer === undefined) throw new Error(`no such node: ${name}`);
    return peer;
  }

  #connect(from: string, to: string): void {
    const connection = this.#ends.size + 1;
    this.#ends.set(connection, [from, to]);
    this.#step(from, { on: 'connected', connection, address: `${to}:1`, isDialled: true });
    this.#step(to, { on: 'connected', connection, address: `${from}:2`, isDialled: false });
  }

  /** What the dialler of the latest connection never would say. */
  #inject(to: string, text: string): void {
    this.#queue = [];
    const said = text
      .replace('@@', this.#cluster)
      .replace(/@([a-z])\b/g, (_, name: string) => this.#peer(name).id);
    this.#step(to, { on: 'frame', connection: this.#ends.size, frame: Buffer.from(said) });
  }

  #tick(ms: number): void {
    this.#now += ms;
    for (const name of this.#peers.keys()) this.#step(name, { on: 'tick' });
  }

  #deliver(): void {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      this.#output.push(next.what);
      this.#step(next.to, next.event);
    }
  }

  #step(name: string, event: GossipEvent): void {
    for (const effect of this.#peer(name).core.step(event, this.#now)) {
      if (effect.do === 'send') {
        const to = this.#other(effect.connection, name);
        const { connection, frame } = effect;
        this.#queue.push({
          to,
          event: { on: 'frame', connection, frame },
          what: `${name} -> ${to}: ${said(frame)}`,
        });
      } else if (effect.do === 'disconnect') {
        const { connection, reason } = effect;
        this.#output.push(`${name} parts from ${this.#other(connection, name)}: ${reason}`);
        for (const end of this.#ends.get(connection) ?? [])
          this.#queue.push({
            to: end,
            event: { on: 'disconnected', connection },
            what: `${end} has lost connection ${connection}`,
          });
      } else if (effect.do === 'connect') this.#output.push(`${name} dials ${effect.address}`);
      else if (effect.do === 'notify')
        for (const { key, value } of effect.changes)
          this.#output.push(`${name} learns ${key} = ${JSON.stringify(value)}`);
    }
  }

  #other(connection: number, name: string): string {
    const [from, to] = this.#ends.get(connection) ?? ['', ''];
    return from === name ? to : from;
  }

  #neighbours(name: string): void {
    for (const { node = '', isEager } of this.#peer(name).core.links.neighbours())
      this.#output.push(`${node} ${isEager ? 'is told news at once' : 'is told that there is news'}`);
  }

  #records(name: string): void {
    for (const { key, version, value } of this.#peer(name).core.store.records(''))
      this.#output.push(`${key} ${version.epoch}.${version.sequence} ${JSON.stringify(value)}`);
    this.#output.sort();
  }

  /** Ids and hashes as short names. */
  #readable(text: string): string {
    let short = text
      .replaceAll(this.#cluster, 'CLUSTER')
      .replace(/\b[0-9a-f]{16}\b/g, (hash) => hash.slice(0, 4));
    for (const [name, { id }] of this.#peers)
      short = short.replaceAll(id, name).replaceAll(id.slice(1, 11), `${name} `);
    return short.replace(/\bc[a-z2-7]{25}\b/g, 'OTHER');
  }
}

function said(frame: Uint8Array): string {
  const decoded = decodeMessage(frame);
  if (!decoded.ok) return decoded.reason;
  const { type, ...members } = decoded.message;
  // Of hashes by bucket, those that are not empty.
  const brief = (_: string, value: unknown): unknown =>
    Array.isArray(value) && value.length === BUCKETS
      ? value.flatMap((hash: number, i) => (hash === 0 ? [] : [i]))
      : value;
  return `${type} ${JSON.stringify(members, brief)}`;
}

/** The file with every answer as it is now. */
function replay(text: string): string {
  const stage = new Stage();
  const lines: string[] = [];
  let isOutput = false;
  for (const line of text.trimEnd().split('\n')) {
    if (line === '----') isOutput = true;
    else if (line === '' || line.startsWith('#')) {
      if (line === '' && lines.at(-1) !== '') lines.push('');
      if (line !== '') lines.push(line);
      isOutput = false;
    } else if (!isOutput) {
      const output = stage.run(line);
      lines.push(line, ...(output === '' ? [] : ['----', output, '']));
    }
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

it.each(['exchange', 'membership', 'news'])('the protocol goes as the transcript "%s" says', async (name) => {
  const path = join(import.meta.dirname, `transcripts/${name}.txt`);
  await expect(replay(readFileSync(path, 'utf8'))).toMatchFileSnapshot(path);
});

it('own records are versioned by epoch and sequence', () => {
  const random = seededRandom(1);
  const node = newNodeId(random);
  const core = new GossipCore({ random, store: new RecordStore() }, { node, epoch: 7 });
  core.step({ on: 'cluster', cluster: newClusterId(random), isOther: false }, 0);
  core.step({ on: 'write', values: new Map([[keys.node(node), 1]]) }, 0);
  core.step({ on: 'write', values: new Map([[keys.node(node), 2]]) }, 0);
  expect(core.store.get(keys.node(node))?.version).toEqual({ epoch: 7, sequence: 2 });
});
