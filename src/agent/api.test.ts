import { expect, test } from 'vitest';
import { silentLog } from '../base/log.ts';
import { createApp } from '../http/server.ts';
import { TOKENS_PATH } from '../model/trust.ts';
import { addAgentRoutes, type AgentView } from './api.ts';

test('an agent says where join tokens are made', async () => {
  const app = createApp({ log: silentLog });
  addAgentRoutes(app, { metrics: { expose: () => Promise.resolve('') }, view: {} as AgentView });
  for (const path of [TOKENS_PATH, `${TOKENS_PATH}/abc`]) {
    const answer = await app.request(path);
    expect(answer.status).toBe(403);
    expect(await answer.json()).toMatchObject({ remedy: 'run "portolan token" on a master\'s host' });
  }
});
