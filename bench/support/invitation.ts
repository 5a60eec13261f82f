/** Tokens for bench processes that take part in a lab's cluster as nodes of their own. */
import { request } from '../../src/http/client.ts';
import { labPaths } from '../../src/lab/paths.ts';
import { MASTER_PORT } from '../../src/model/config.ts';
import { TOKENS_PATH } from '../../src/model/trust.ts';

/** `TOKEN@HOST:PORT`, for one node, made by the lab's master. */
export async function invitation(lab: string): Promise<string> {
  const { body } = await request(
    { socketPath: labPaths(lab).apiSocket },
    { method: 'POST', path: TOKENS_PATH, body: {}, timeoutMs: 5_000 },
  );
  const { tokens } = body as { tokens: readonly { readonly token: string }[] };
  return `${tokens[0]?.token ?? ''}@10.0.0.1:${MASTER_PORT}`;
}
