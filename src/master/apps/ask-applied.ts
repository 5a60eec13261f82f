/** Asks an agent whether it has one record in its kernel (`/v1/applied/here`). */
import { z } from 'zod';
import { request } from '../../http/client.ts';
import { answered } from '../../http/errors.ts';
import type { DrainerComponents } from './drainer.ts';

/** Beyond the time that the agent may wait. */
const MARGIN_MS = 5_000;
const answer = z.object({ applied: z.boolean() });

export const askApplied: DrainerComponents['ask'] = async (agent, { key, epoch, sequence, wait }, signal) => {
  const query = new URLSearchParams({
    ...{ key, epoch: String(epoch), sequence: String(sequence), wait: String(wait) },
  });
  const target = { host: agent.address, port: agent.apiPort };
  const path = `/v1/applied/here?${query.toString()}`;
  const told = await request(target, { method: 'GET', path, timeoutMs: wait * 1000 + MARGIN_MS, signal });
  return answer.parse(answered(told)).applied;
};
