/** Asks an agent which of these records it has in its kernel (`/v1/applied/here`). */
import { z } from 'zod';
import { request } from '../../http/client.ts';
import { answered } from '../../http/errors.ts';
import type { AskApplied } from './agent-asker.ts';

/** Beyond the time that the agent may wait. */
const MARGIN_MS = 5_000;
const answer = z.object({ applied: z.array(z.boolean()) });

export const askApplied: AskApplied = async (agent, body, signal) => {
  const target = { host: agent.address, port: agent.apiPort };
  const timeoutMs = body.wait * 1000 + MARGIN_MS;
  const told = await request(target, {
    ...{ method: 'POST', path: '/v1/applied/here', body, timeoutMs, signal },
  });
  return answer.parse(answered(told)).applied;
};
