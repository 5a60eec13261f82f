/**
 * The agent: one session after another under one journal.
 *
 * A session ends when the daemon does, or when the cluster has removed its node. Then the node gives up its block and
 * its containers' addresses (they may be somebody else's by now) and its certificate, which nobody accepts any more, and
 * begins anew where it has been given another token; else it takes the host off all overlays, ends, and says what it
 * needs.
 */
import { join } from 'node:path';
import { describeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { AgentConfig } from '../model/config.ts';
import { openJournal } from '../store/journal.ts';
import type { Journal } from '../store/types.ts';
import { dropCredentials } from './credentials.ts';
import { openSession, type Session, type SessionComponents } from './session.ts';
import { openTrust, type NodeTrust } from './trust.ts';
import { disconnect } from './uninstall.ts';

export interface Agent {
  close(): Promise<void>;
}

const WHAT = "this node's identity and certificate, its address blocks and the addresses of its containers";
const RECOVERY =
  'join again with another token: the agent registers anew with a new block; running containers keep working until then';

export type AgentComponents = Omit<SessionComponents, 'journal' | 'trust'>;

export interface AgentInit {
  readonly config: AgentConfig;
  /** Gives up waiting for a cluster to join. */
  readonly signal: AbortSignal;
}

/** Rejects with 'conflict' while another process has it. */
export function openAgentJournal(components: { readonly log: Log }, stateDir: string): Promise<Journal> {
  const path = join(stateDir, 'agent.journal');
  return openJournal(components, { path, what: WHAT, recovery: RECOVERY });
}

export async function startAgent(components: AgentComponents, init: AgentInit): Promise<Agent> {
  const { log } = components;
  const { config } = init;
  const journal = await openAgentJournal({ log }, config.state_dir);
  let session: Session | undefined;
  let trust: NodeTrust | undefined;
  const leaving = new AbortController();
  let ending = false;
  let changing: Promise<void> | undefined;

  /** Heard of while a session opens: a node that was away learns first of all what has become of it. */
  let removed = false;

  const begin = async (): Promise<void> => {
    removed = false;
    const signal = AbortSignal.any([init.signal, leaving.signal]);
    trust = await openTrust({ ...components, journal }, { config, signal });
    session = await openSession({ ...components, journal, trust }, { config, onRemoved });
  };
  const startOver = async (): Promise<void> => {
    do {
      log.warn('The cluster has removed this node: it gives up its block and joins anew');
      const old = session;
      session = undefined;
      await old?.close();
      await old?.forget();
      await dropCredentials(journal);
      trust?.close();
      if (!ending) await begin();
    } while (removed && !ending);
  };
  /** A host that is no node any more has nothing to say to others, and its blocks are theirs. */
  const offAllOverlays = async (): Promise<void> => {
    try {
      const { steps, failures } = await disconnect({ ...components, journal }, config);
      const left = failures.map(({ change, reason }) => `${change.what}: ${reason}`);
      log.info('Took this host off all overlays', { steps, ...(left.length > 0 && { left }) });
    } catch (error) {
      log.error('Cannot take this host off all overlays', {
        error: describeError(error),
        remedy: 'run "portolan uninstall"',
      });
    }
  };
  const onRemoved = (): void => {
    removed = true;
    if (ending || session === undefined) return;
    changing ??= startOver()
      .catch(async (error: unknown) => {
        if (!ending) {
          log.error('Cannot begin anew', { error: describeError(error) });
          await offAllOverlays();
        }
        process.exitCode = 1;
        process.kill(process.pid, 'SIGTERM');
      })
      .finally(() => (changing = undefined));
  };

  try {
    await begin();
    if (removed) onRemoved();
  } catch (error) {
    trust?.close();
    await journal.close();
    throw error;
  }
  return {
    close: async () => {
      ending = true;
      leaving.abort();
      await changing;
      await session?.close();
      trust?.close();
      await journal.close();
    },
  };
}
