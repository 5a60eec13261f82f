import { createPrivateKey, createPublicKey } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { realRandom } from '../base/random.ts';
import { newNodeId, type NodeId } from '../model/names.ts';
import { keys, type GossipRecord, type RecordValue } from '../model/record.ts';
import { issueNode } from './certificate.ts';
import { aroundNow, testAuthority, testCredentials } from './fake.ts';
import { newPrivateKey } from './keys.ts';
import { RecordSignatures, shownUntil, type RecordSignaturesInit } from './record-signatures.ts';

const issuer = testAuthority();
const { cluster } = issuer;

/** The canonical form that the record exchange gives. */
const text = ({ key, version, value }: GossipRecord): string => JSON.stringify({ key, version, value });

function signatures(init: Partial<RecordSignaturesInit> = {}): RecordSignatures {
  return new RecordSignatures({ cluster, authority: () => issuer.certificate, ...init });
}

class Writer {
  readonly node: NodeId;
  readonly signatures: RecordSignatures;
  readonly signer: GossipRecord;

  constructor(node = newNodeId(realRandom), by = issuer) {
    this.node = node;
    const credentials = testCredentials(by, { node });
    const own = { node, key: newPrivateKey(), credentials: () => credentials };
    this.signatures = signatures({ own });
    const value = this.signatures.introduction(undefined);
    if (value === undefined) throw new Error('it has to introduce itself');
    this.signer = this.write(keys.signer(node), { ...value });
  }

  write(key: string, value: RecordValue, sequence = 1): GossipRecord {
    const record = { key, version: { epoch: 1, sequence }, value };
    const signature = this.signatures.sign(record, text(record));
    return { ...record, ...(signature !== undefined && { signature }) };
  }
}

/** What a reader, who holds `held`, thinks of `record`. */
function judged(record: GossipRecord, held: readonly GossipRecord[], reader = signatures()) {
  return reader.judge(record, text(record), (key) => held.find((each) => each.key === key));
}

describe('a record', () => {
  const writer = new Writer();
  const record = writer.write(keys.overlay(writer.node, 'dcos'), { subnet: '9.0.1.0/24' });

  it('is genuine with the signature of its node, whose signer vouches for itself', () => {
    expect(judged(writer.signer, [])).toEqual({ is: 'genuine' });
    expect(judged(record, [writer.signer])).toEqual({ is: 'genuine' });
  });

  it('cannot be judged before the signer of its node is known', () => {
    expect(judged(record, [])).toEqual({ is: 'unknown', needs: keys.signer(writer.node) });
  });

  it('that was changed in any part, or is of another cluster, is forged', () => {
    const changed: GossipRecord[] = [
      { ...record, key: keys.overlay(writer.node, 'other') },
      { ...record, version: { epoch: 1, sequence: 2 } },
      { ...record, version: { epoch: 2, sequence: 1 } },
      { ...record, value: { subnet: '9.0.2.0/24' } },
      { ...record, value: null },
      { ...record, signature: 'AAAA' },
      { ...record, signature: '' },
    ];
    for (const each of changed)
      expect(judged(each, [writer.signer])).toEqual({
        is: 'forged',
        reason: "its signature is not its writer's",
      });
    const { signature: _, ...unsigned } = record;
    expect(judged(unsigned, [writer.signer])).toEqual({ is: 'forged', reason: 'it is not signed' });
    const elsewhere = signatures({ cluster: testAuthority().cluster });
    expect(judged(record, [writer.signer], elsewhere)).toMatchObject({ is: 'forged' });
  });

  it('that another node of the cluster signed in its name is forged', () => {
    const liar = new Writer();
    const forged = liar.write(record.key, { subnet: '10.66.0.0/24' }, 9);
    expect(judged(forged, [writer.signer, liar.signer])).toMatchObject({ is: 'forged' });
  });

  it('of masters is verified by the authority, and no node can sign one', () => {
    const master = signatures({ authorityKey: issuer.key });
    const network = { key: keys.network, version: { epoch: 7, sequence: 0 }, value: {} };
    const signature = master.sign(network, text(network)) ?? '';
    expect(judged({ ...network, signature }, [])).toEqual({ is: 'genuine' });
    expect(judged({ ...network, value: 1, signature }, [])).toMatchObject({ is: 'forged' });
    expect(writer.write(keys.network, {}).signature).toBeUndefined();
    expect(judged(writer.write(keys.network, {}), [writer.signer])).toMatchObject({ is: 'forged' });
  });

  it('without a signature is believed only while that is allowed, and not of who is known to sign', () => {
    const { signature: _, ...unsigned } = record;
    const lenient = signatures({ acceptsUnsigned: true });
    expect(judged(unsigned, [], lenient)).toEqual({ is: 'genuine' });
    expect(judged(unsigned, [writer.signer], lenient)).toEqual({ is: 'forged', reason: 'it is not signed' });
  });
});

describe('a signer', () => {
  const writer = new Writer();
  const value = writer.signer.value as Record<string, string>;

  it('is written once, and again to show a renewed certificate, under the same key', () => {
    expect(writer.signatures.introduction(writer.signer)).toBeUndefined();
    const key = newPrivateKey();
    let current = testCredentials(issuer, { node: writer.node });
    const renewing = signatures({ own: { node: writer.node, key, credentials: () => current } });
    const first = renewing.introduction(undefined);
    const held = { ...writer.signer, value: { ...first } as RecordValue };
    expect(renewing.introduction(held)).toBeUndefined();
    expect(shownUntil(held)).toBe(current.validity.notAfter);
    current = testCredentials(issuer, { node: writer.node });
    expect(renewing.introduction(held)).toMatchObject({ key: first?.key });
    expect(renewing.introduction(held)?.certificate).not.toBe(first?.certificate);
    expect(shownUntil({ ...held, value: 1 })).toBeUndefined();
  });

  it('is refused when its certificate is of another node, or of no node', () => {
    const other = newNodeId(realRandom);
    const posing = writer.write(keys.signer(other), value);
    expect(judged(posing, [])).toEqual({
      is: 'forged',
      reason: `its certificate is of node "${writer.node}"`,
    });
    expect(judged(writer.write(writer.signer.key, null), [])).toMatchObject({ is: 'forged' });
  });

  it('is refused when another authority certified its node, though the ids are right', () => {
    const stranger = new Writer(writer.node, testAuthority(cluster));
    expect(judged(stranger.signer, [])).toMatchObject({ is: 'forged', reason: /authority/ });
  });

  it('is refused when the certificate does not vouch for its key', () => {
    const thief = newPrivateKey();
    const key = createPublicKey(createPrivateKey(thief)).export({ type: 'spki', format: 'der' });
    const stolen = writer.write(writer.signer.key, { ...value, key: key.toString('base64') });
    expect(judged(stolen, [])).toMatchObject({ is: 'forged', reason: /not vouched for/ });
  });

  it('is genuine also when its certificate has expired: its writer was off for long', () => {
    const node = newNodeId(realRandom);
    const key = newPrivateKey();
    const validity = { notBefore: aroundNow.notBefore, notAfter: aroundNow.notBefore + 1_000 };
    const certificate = issueNode(realRandom, issuer, {
      name: { cluster, role: 'agent', node },
      publicKey: createPublicKey(createPrivateKey(key)),
      validity,
    });
    const own = { node, key: newPrivateKey(), credentials: () => ({ key, certificate }) };
    const old = signatures({ own });
    const record = {
      ...{ key: keys.signer(node), version: { epoch: 1, sequence: 1 } },
      value: { ...old.introduction(undefined) } as RecordValue,
    };
    const signature = old.sign(record, text(record)) ?? '';
    expect(judged({ ...record, signature }, [])).toEqual({ is: 'genuine' });
  });

  it('of any content is judged without an exception', () => {
    const odd = fc.oneof(fc.string(), fc.base64String(), fc.constantFrom(...Object.values(value)));
    const content = fc.oneof(fc.jsonValue(), fc.record({ certificate: odd, key: odd, proof: odd }));
    fc.assert(
      fc.property(content, fc.string({ maxLength: 128 }), (any, signature) => {
        const key = keys.signer(writer.node);
        const version = { epoch: 1, sequence: 1 };
        judged({ key, version, value: any as RecordValue, signature }, []);
      }),
      { numRuns: 300 },
    );
  });
});
