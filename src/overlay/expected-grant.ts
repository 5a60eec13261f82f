/** Whether an agent's grant is of the network that the masters tell of: the word of an overlay comes before its block. */
import { z } from 'zod';
import type { Grant } from './desired.ts';

const told = z.object({
  overlays: z.array(z.object({ name: z.string(), enabled: z.boolean().default(true) })),
});

/** `network` is the value of `cluster/network`; without it, or without a grant, nothing else is expected. */
export function isGrantOf(network: unknown, grant: Pick<Grant, 'overlays'> | undefined): boolean {
  const { success, data } = told.safeParse(network);
  if (!success || grant === undefined) return true;
  const wanted = new Set(data.overlays.filter(({ enabled }) => enabled).map(({ name }) => name));
  return wanted.size === grant.overlays.length && grant.overlays.every(({ info }) => wanted.has(info.name));
}
