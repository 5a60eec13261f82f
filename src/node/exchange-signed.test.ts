/** Whose word a node takes: signed records over one network, with members that lie. */
import { afterEach, describe, expect, it } from 'vitest';
import { ExchangeWorld, nodeRecord, type TestNode } from '../../test/support/exchange-world.ts';
import { encodeMessage, encodeRecords } from '../gossip/codec.ts';
import { newNodeId } from '../model/names.ts';
import { keys, type RecordValue } from '../model/record.ts';
import type { PeerConnection } from '../peer/types.ts';
import { RecordSignatures } from '../trust/record-signatures.ts';
import { testAuthority, testCredentials } from '../trust/fake.ts';
import { newPrivateKey } from '../trust/keys.ts';
import { PORT } from '../../test/support/exchange-world.ts';

class SignedWorld extends ExchangeWorld {
  readonly issuer = testAuthority(this.cluster);
  readonly #recordKeys = new Map<string, string>();
  acceptsUnsigned = false;

  override open(at: Omit<TestNode, 'exchange'>) {
    const { node } = at;
    const credentials = testCredentials(this.issuer, { node });
    const key = this.#recordKeys.get(node) ?? newPrivateKey();
    this.#recordKeys.set(node, key);
    const authenticator = new RecordSignatures({
      cluster: this.cluster,
      authority: () => this.issuer.certificate,
      // Each of them may play the master.
      authorityKey: this.issuer.key,
      own: { node, key, credentials: () => credentials },
      acceptsUnsigned: this.acceptsUnsigned,
    });
    return super.open(at, {}, { authenticator });
  }

  /** Somebody who has got in, as node `node` of protocol `protocol`, and says `frames`. */
  async say(to: TestNode, frames: readonly Uint8Array[], protocol = 2): Promise<PeerConnection> {
    const transport = this.network.transport('10.9.9.9');
    const connecting = transport.connect({ host: to.host, port: PORT }, { timeoutMs: 1_000 });
    await this.run(50);
    const connection = await connecting;
    const node = newNodeId(this.random);
    connection.onFrame(() => undefined);
    connection.onClose(() => undefined);
    connection.send(
      encodeMessage({
        ...{ type: 'hello', protocol, oldest: 1, cluster: this.cluster, node, epoch: 1 },
        ...{ port: 0, address: '' },
      }),
    );
    connection.send(encodeMessage({ type: 'neighbour', join: false, urgent: true }));
    for (const frame of frames) connection.send(frame);
    await this.run(100);
    return connection;
  }
}

const said = (key: string, value: RecordValue, epoch = 99): Uint8Array =>
  encodeRecords([JSON.stringify({ key, version: { epoch, sequence: 0 }, value })], { repair: false });

let world = new SignedWorld();
afterEach(() => world.close());

describe('a signed record', () => {
  it('reaches everybody, over others, after restarts, and from those that start with nothing', async () => {
    world = new SignedWorld();
    await world.addMany(8);
    await world.until(() => world.areEqual(), 10_000);
    const [first, second] = world.nodes as [TestNode, TestNode];
    await first.exchange.publish(keys.endpoint(first.node, 'c1', 'eth0'), { address: '9.0.0.2' });
    await first.exchange.publishCluster(keys.masters, { masters: ['10.0.0.1:5050'] }, 5);
    await world.until(() => world.areEqual(), 2_000);
    await second.exchange.close();
    second.exchange = await world.open(second);
    const late = await world.add();
    await world.until(() => world.areEqual(), 10_000);
    expect(late.exchange.get(keys.endpoint(first.node, 'c1', 'eth0'))?.value).toEqual({ address: '9.0.0.2' });
    expect(late.exchange.get(keys.masters)?.value).toEqual({ masters: ['10.0.0.1:5050'] });
    for (const { exchange } of world.nodes) expect(exchange.stats().refused).toBe(0);
  });

  it('signed for another node, or for masters, is refused with one line, and nothing of it is merged', async () => {
    world = new SignedWorld();
    await world.addMany(3);
    await world.until(() => world.areEqual(), 10_000);
    const [victim, other] = world.nodes as [TestNode, TestNode];
    const before = victim.exchange.digest();
    const lies = [
      said(keys.node(other.node), nodeRecord('10.66.6.6')),
      said(keys.node(victim.node), nodeRecord('10.66.6.6')),
      said(keys.overlay(other.node, 'dcos'), { subnet: '0.0.0.0/0' }),
      said(keys.removed(other.node), { node: other.node, grant_epoch: 1 }),
      said(keys.masters, { masters: ['10.66.6.6:5050'] }),
      said(keys.node(newNodeId(world.random)), nodeRecord('10.66.6.7')),
    ];
    await world.say(victim, [...lies, ...lies, ...lies]);
    await world.run(5_000);
    expect(victim.exchange.digest()).toEqual(before);
    expect(victim.exchange.stats().refused).toBeGreaterThanOrEqual(12);
    const lines = victim.lines.filter(({ message }) => message === 'refused a record');
    expect(new Set(lines.map(({ fields }) => fields['reason']))).toEqual(
      new Set(['it is not signed', 'this node has not written it']),
    );
    expect(lines).toHaveLength(2);
    expect(world.areEqual()).toBe(true);
  });

  it('is repeated without harm, also long after it was replaced', async () => {
    world = new SignedWorld();
    await world.addMany(2);
    const [one, two] = world.nodes as [TestNode, TestNode];
    await world.until(() => world.areEqual(), 10_000);
    const old = two.exchange.get(keys.node(two.node));
    await two.exchange.publish(keys.node(two.node), nodeRecord('10.0.0.77'));
    await world.until(() => world.areEqual(), 2_000);
    const replayed = encodeRecords([JSON.stringify(old)], { repair: false });
    await world.say(one, [replayed, replayed]);
    expect(one.exchange.get(keys.node(two.node))?.value).toEqual(nodeRecord('10.0.0.77'));
    expect(two.exchange.get(keys.node(two.node))?.value).toEqual(nodeRecord('10.0.0.77'));
  });

  it('and those of a version that does not sign are taken together, while that is allowed', async () => {
    world = new SignedWorld();
    world.acceptsUnsigned = true;
    await world.addMany(2);
    const [one, two] = world.nodes as [TestNode, TestNode];
    await world.until(() => world.areEqual(), 10_000);
    const former = newNodeId(world.random);
    const lies = said(keys.node(two.node), nodeRecord('10.66.6.6'));
    await world.say(one, [said(keys.node(former), nodeRecord('10.0.0.50')), lies], 1);
    await world.until(() => two.exchange.get(keys.node(former)) !== undefined, 2_000);
    expect(one.exchange.get(keys.node(two.node))?.value).toEqual(nodeRecord(two.host));
  });

  it('of before there were signatures is signed at the next start', async () => {
    world = new SignedWorld();
    const node = await world.add();
    await node.exchange.close();
    for (const [key, text] of node.disk)
      if (key.startsWith('record/')) {
        const { signature: _, ...rest } = JSON.parse(text) as { signature?: string };
        node.disk.set(key, JSON.stringify(rest));
      }
    const stranger = newNodeId(world.random);
    const unsigned = { version: { epoch: 1, sequence: 1 }, value: nodeRecord('10.0.0.9') };
    node.disk.set(`record/${keys.node(stranger)}`, JSON.stringify(unsigned));
    node.exchange = await world.open(node);
    expect(node.exchange.get(keys.node(node.node))?.signature).toHaveLength(86);
    expect(node.exchange.get(keys.node(stranger))).toBeUndefined();
    const other = await world.add();
    await world.until(() => world.areEqual(), 10_000);
    expect(other.exchange.get(keys.node(node.node))?.value).toEqual(nodeRecord(node.host));
  });
});
