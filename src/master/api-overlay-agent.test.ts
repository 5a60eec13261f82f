import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../base/log.ts';
import { createApp, listenUnix } from '../http/server.ts';
import { addOverlayAgentApi } from './api-overlay-agent.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'portolan-'));
});
afterAll(() => rm(directory, { recursive: true }));

const state = { ip: '10.0.0.1', configuration_attempts: 1, overlays: [] };

describe('/overlay-agent on a master', () => {
  it("is that of the agent on the master's host, by both names", async () => {
    const agent = createApp({ log: silentLog });
    agent.get('/overlay-agent/:name', (context) => context.json(state));
    const socketPath = join(directory, 'agent.sock');
    const listener = await listenUnix(agent, socketPath);
    const app = createApp({ log: silentLog });
    addOverlayAgentApi(app, { socketPath });
    for (const path of ['/overlay-agent/overlay', '/overlay-agent/overlays']) {
      const answer = await app.request(path);
      expect(answer.status).toBe(200);
      expect(await answer.json()).toEqual(state);
    }
    expect((await app.request('/overlay-agent/overlay', { headers: { accept: 'text/html' } })).status).toBe(
      415,
    );
    await listener.close();
  });

  it('says so when there is none', async () => {
    const app = createApp({ log: silentLog });
    addOverlayAgentApi(app, { socketPath: join(directory, 'none.sock') });
    const answer = await app.request('/overlay-agent/overlay');
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ remedy: 'start the agent there' });
  });
});
