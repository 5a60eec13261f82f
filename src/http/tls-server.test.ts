import { Agent } from 'node:https';
import { afterEach, describe, expect, it } from 'vitest';
import { realClock } from '../base/clock.ts';
import { memoryLog } from '../base/log.ts';
import { testAuthority, testCredentials } from '../trust/fake.ts';
import { request } from './client.ts';
import { createApp } from './server.ts';
import { listenTls, senderOf } from './tls-server.ts';

const open: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

describe('the TLS door', () => {
  it('knows a node that comes back on a new connection, which resumes its session', async () => {
    const log = memoryLog();
    const authority = testAuthority();
    const [master, node] = [testCredentials(authority), testCredentials(authority)];
    const secure = createApp({ log });
    secure.get('/sender', (context) => {
      const sender = senderOf(context);
      return context.json({ sender: sender !== undefined && 'peer' in sender ? sender.peer.node : null });
    });
    const listener = await listenTls(
      { clock: realClock, log },
      { host: '127.0.0.1', port: 0, plain: createApp({ log }), secure, credentials: () => master },
    );
    open.push(() => listener.close());
    const tls = new Agent({
      keepAlive: false,
      secureContext: node.context,
      checkServerIdentity: () => undefined,
    });
    const resumed: boolean[] = [];
    tls.on('keylog', (_line, socket) => {
      socket.once('secureConnect', () => resumed.push(socket.isSessionReused()));
    });
    for (let connection = 0; connection < 3; connection++) {
      const target = { host: '127.0.0.1', port: listener.port ?? 0 };
      const answer = await request(target, { method: 'GET', path: '/sender', timeoutMs: 5_000, tls });
      expect(answer).toMatchObject({ status: 200, body: { sender: node.name.node } });
    }
    expect(resumed).toContain(true);
  });
});
