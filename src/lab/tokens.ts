/** Join tokens for the agents of a lab, made by its master. */
import { isPortolanError } from '../base/errors.ts';
import { request } from '../http/client.ts';
import { TOKENS_PATH, type CreateTokens } from '../model/trust.ts';
import { z } from 'zod';
import { answered } from '../http/errors.ts';
import { runningDaemon } from './daemons.ts';
import { hostPaths } from './paths.ts';
import { masterApis } from './plan.ts';
import type { LabHost, LabState } from './state.ts';

/** One to join with, the others for when the host is removed from the cluster and comes back. */
const TOKENS_PER_HOST = 4;
/** As long as a token may last: labs are kept for days. */
const TTL_SECONDS = 30 * 86_400;
const TIMEOUT_MS = 10_000;

const made = z.object({ tokens: z.array(z.object({ token: z.string() })) });

/** `TOKEN@HOST:PORT` by host; empty while no master answers: a node that has joined needs none. */
export async function makeTokens(
  state: LabState,
  hosts: readonly LabHost[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const agents = hosts.filter((host) => host.role === 'agent');
  const master = state.hosts.find(
    (host) => host.role === 'master' && runningDaemon(state, host.name, 'master') !== undefined,
  );
  const [api] = masterApis(state.hosts.filter((host) => host === master));
  if (master === undefined || api === undefined || agents.length === 0) return new Map();
  const count = agents.length * TOKENS_PER_HOST;
  const body: CreateTokens = { count, ttl_seconds: TTL_SECONDS, note: `lab ${state.name}` };
  const answer = await request(
    { socketPath: hostPaths(state.name, master.name).apiSocket },
    { method: 'POST', path: TOKENS_PATH, body, timeoutMs: TIMEOUT_MS },
  ).catch((error: unknown) => {
    if (isPortolanError(error, 'unavailable')) return undefined;
    throw error;
  });
  if (answer === undefined) return new Map();
  const invitations = made.parse(answered(answer)).tokens.map(({ token }) => `${token}@${api}`);
  return new Map(agents.map((host) => [host.name, invitations.splice(0, TOKENS_PER_HOST)]));
}
