/** Printing a log that grows, a piece at a time, as `docker logs -f` does. */
import { containerLogs } from '../model/container.ts';
import type { HttpTarget } from '../http/client.ts';
import type { CliContext } from './context.ts';

/**
 * Prints what is in the log at `path` from byte `from` on, each stream to its own; resolves to where to go on. The log
 * is this host's, unless another agent is named.
 */
export async function printLogAt(
  context: CliContext,
  path: string,
  from: number,
  agent?: HttpTarget,
): Promise<number> {
  const api = agent ?? (await context.agentApi());
  for (let next = from; ;) {
    const answer = await context.call(api, { method: 'GET', path: `${path}?from=${next}` });
    const piece = containerLogs.parse(answer);
    for (const { stream, text } of piece.entries) process[stream].write(text);
    if (piece.next === next) return next;
    next = piece.next;
  }
}
