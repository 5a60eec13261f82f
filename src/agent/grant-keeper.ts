/**
 * The grant, kept on disk: what lets an agent live without a master.
 *
 * A grant is in the journal before it is used. It names the cluster; one of another cluster is refused.
 */
import { PortolanError } from '../base/errors.ts';
import type { ClusterId } from '../model/names.ts';
import { updateAgentOverlays, type UpdateAgentOverlays } from '../model/registration.ts';
import type { Grant } from '../overlay/desired.ts';
import type { Journal } from '../store/types.ts';

const GRANT_KEY = 'grant';

export class GrantKeeper {
  readonly #journal: Journal;
  #update: UpdateAgentOverlays | undefined;
  #grant: Grant | undefined;

  /** Throws `corrupt` when the stored grant does not fit its schema. */
  constructor(components: { readonly journal: Journal }) {
    this.#journal = components.journal;
    const stored = components.journal.get(GRANT_KEY);
    if (stored !== undefined) this.#update = parseStored(stored);
  }

  cluster(): ClusterId | undefined {
    return this.#update?.cluster;
  }

  contacts(): readonly string[] {
    return this.#update?.contacts ?? [];
  }

  /** The same object until it changes. */
  current(): Grant | undefined {
    if (this.#update === undefined) return undefined;
    return (this.#grant ??= { overlays: this.#update.overlays, epoch: this.#update.grant_epoch });
  }

  /**
   * Resolves when it is on disk, to whether it grants something else than before. Agents register again whenever a master
   * starts, and are mostly told what they know: then only the contacts are new, for which nobody waits.
   */
  async take(update: UpdateAgentOverlays): Promise<boolean> {
    const known = this.cluster();
    if (known !== undefined && known !== update.cluster)
      throw new PortolanError(
        'forbidden',
        `Cannot take a grant of cluster "${update.cluster}": this agent belongs to "${known}"`,
        {
          field: 'masters',
          remedy:
            'name the masters of its own cluster, or run `portolan uninstall --purge` first to make it join another',
        },
      );
    const isNews = grantText(this.#update) !== grantText(update);
    if (isNews) await this.#journal.write({ [GRANT_KEY]: update });
    else this.#journal.writeLazily({ [GRANT_KEY]: update });
    this.#update = update;
    if (isNews) this.#grant = undefined;
    return isNews;
  }

  /** The cluster has removed this node: its block is no longer its own. */
  async drop(): Promise<void> {
    await this.#journal.write({ [GRANT_KEY]: undefined });
    this.#update = undefined;
  }
}

function grantText(update: UpdateAgentOverlays | undefined): string {
  return update === undefined ? '' : JSON.stringify([update.grant_epoch, update.overlays]);
}

function parseStored(stored: unknown): UpdateAgentOverlays {
  const parsed = updateAgentOverlays.safeParse(stored);
  if (parsed.success) return parsed.data;
  throw new PortolanError('corrupt', 'Cannot read the stored grant: it does not fit its schema', {
    remedy: 'restore the journal from a backup, or move it away and let the agent register anew',
    details: { issues: parsed.error.issues.map((issue) => issue.message) },
  });
}
