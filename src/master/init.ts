/** What a first start of a master makes, without starting it: the cluster's id and its certificate authority. */
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { MasterConfig } from '../model/config.ts';
import type { ClusterId } from '../model/names.ts';
import { openEmbeddedStore } from '../store/embedded.ts';
import { Authority } from './authority.ts';
import { ensureClusterId } from './recovery.ts';

export interface Initialised {
  readonly cluster: ClusterId;
  /** SHA-256 of the authority's certificate, hexadecimal. */
  readonly authority: string;
}

/** Does nothing twice. Rejects with 'conflict' while the master runs. */
export async function initMaster(
  components: { readonly clock: Clock; readonly random: Random; readonly log: Log },
  config: MasterConfig,
): Promise<Initialised> {
  const store = await openEmbeddedStore(components, { dir: join(config.state_dir, 'store') });
  try {
    const cluster = await ensureClusterId({ ...components, store });
    const authority = await Authority.open(
      { ...components, store },
      { cluster, certificateLifeMs: config.certificate_seconds * 1000 },
    );
    return { cluster, authority: authority.fingerprint.toString('hex') };
  } finally {
    await store.close();
  }
}
