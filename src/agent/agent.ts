/**
 * The agent: one session after another under one journal.
 *
 * A session ends when the daemon does, or when the cluster has removed its node. Then the node gives up its block and
 * its containers' addresses (they may be somebody else's by now), takes a new identity, and begins anew.
 */
import { join } from 'node:path';
import { describeError } from '../base/errors.ts';
import type { AgentConfig } from '../model/config.ts';
import { rotateIdentity } from '../node/identity.ts';
import { openJournal } from '../store/journal.ts';
import { openSession, type Session, type SessionComponents } from './session.ts';

export interface Agent {
  close(): Promise<void>;
}

const WHAT = "this node's identity, its address blocks and the addresses of its containers";
const RECOVERY =
  'restart: the agent registers anew with a new block; running containers keep working until then';

export type AgentComponents = Omit<SessionComponents, 'journal'>;

export async function startAgent(components: AgentComponents, config: AgentConfig): Promise<Agent> {
  const { log, random } = components;
  const journal = await openJournal(
    { log },
    { path: join(config.state_dir, 'agent.journal'), what: WHAT, recovery: RECOVERY },
  );
  let session: Session | undefined;
  let ending = false;
  let changing: Promise<void> | undefined;

  /** Heard of while a session opens: a node that was away learns first of all what has become of it. */
  let removed = false;

  const begin = async (): Promise<void> => {
    removed = false;
    session = await openSession({ ...components, journal }, { config, onRemoved });
  };
  const startOver = async (): Promise<void> => {
    do {
      log.warn('The cluster has removed this node: it gives up its block and joins anew');
      const old = session;
      session = undefined;
      await old?.close();
      await old?.forget();
      await rotateIdentity({ journal, random });
      if (!ending) await begin();
    } while (removed && !ending);
  };
  const onRemoved = (): void => {
    removed = true;
    if (ending || session === undefined) return;
    changing ??= startOver()
      .catch((error: unknown) => {
        log.error('Cannot begin anew', { error: describeError(error) });
        process.exitCode = 1;
        process.kill(process.pid, 'SIGTERM');
      })
      .finally(() => (changing = undefined));
  };

  try {
    await begin();
    if (removed) onRemoved();
  } catch (error) {
    await journal.close();
    throw error;
  }
  return {
    close: async () => {
      ending = true;
      await changing;
      await session?.close();
      await journal.close();
    },
  };
}
