/** nftables of a namespace by the `nft` program: for tests of what needs no more of the adapter than this. */
import type { Nft } from '../../src/kernel/nft/types.ts';
import { mustRun } from '../../src/runtime/command.ts';

const TIMEOUT_MS = 15_000;

/** The generation rises with every question, so nothing is ever skipped. */
export function nftOf(namespace: string): Pick<Nft, 'list' | 'run' | 'generation'> {
  const command = ['nsenter', `--net=/run/netns/${namespace}`, '--', 'nft'];
  let generation = 0;
  return {
    list: async (args) => {
      const text = await mustRun([...command, '-j', ...args], { timeoutMs: TIMEOUT_MS });
      return JSON.parse(text) as unknown;
    },
    run: async (script) => {
      await mustRun([...command, '-f', '-'], { timeoutMs: TIMEOUT_MS, input: script });
    },
    generation: () => Promise.resolve(generation++),
  };
}
