import { describe, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { newClusterId, newNodeId } from '../model/names.ts';
import { decodeMessage, OLDEST_PROTOCOL, PROTOCOL_VERSION, type Hello } from './codec.ts';
import { judgeHello } from './greeting.ts';
import { RecordStore } from './records.ts';

const random = seededRandom(1);
const cluster = newClusterId(random);
const own = { cluster, node: newNodeId(random), store: new RecordStore() };
const peer = newNodeId(random);

function hello(members: Readonly<Record<string, unknown>>): Hello {
  const text = JSON.stringify({ type: 'hello', protocol: PROTOCOL_VERSION, cluster, node: peer, ...members });
  const decoded = decodeMessage(Buffer.from(text));
  if (!decoded.ok || decoded.message.type !== 'hello') throw new Error('no hello');
  return decoded.message;
}

describe('a hello', () => {
  it('of a later version that still speaks ours is taken, whatever else it says', () => {
    const later = hello({ protocol: PROTOCOL_VERSION + 7, oldest: PROTOCOL_VERSION, mood: ['good'] });
    expect(judgeHello(later, own)).toMatchObject({ is: 'peer', node: peer });
  });

  it('without what later versions added is taken', () => {
    const protocol = PROTOCOL_VERSION;
    const judged = { is: 'peer', node: peer, epoch: 0, protocol, port: 0, address: '' };
    expect(judgeHello(hello({}), own)).toEqual(judged);
  });

  it('of a version that has given ours up, or that we have given up, is refused by naming both', () => {
    const later = hello({ protocol: PROTOCOL_VERSION + 2, oldest: PROTOCOL_VERSION + 1 });
    expect(judgeHello(later, own)).toMatchObject({
      is: 'stranger',
      reason: expect.stringContaining(`versions ${PROTOCOL_VERSION + 1} to ${PROTOCOL_VERSION + 2}`),
    });
    const older = hello({ protocol: OLDEST_PROTOCOL - 1, oldest: 0 });
    expect(judgeHello(older, own)).toMatchObject({ is: 'stranger' });
  });

  it('of another cluster, without a node id, or of this node itself makes no peer', () => {
    expect(judgeHello(hello({ cluster: newClusterId(random) }), own)).toMatchObject({ is: 'stranger' });
    expect(judgeHello(hello({ node: 'somebody' }), own)).toMatchObject({ is: 'stranger' });
    expect(judgeHello(hello({ node: own.node }), own)).toEqual({ is: 'self' });
  });
});
