/**
 * Persistent volumes of this host: directories that outlive the tasks they were made for.
 *
 * A volume is named by its id, `state_dir/volumes/<id>/data`; nothing is remembered elsewhere. Only `wipe` removes one, and
 * only masters say which: what they have never named stays.
 */
import { existsSync } from 'node:fs';
import { chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { User } from '../../runtime/users.ts';

export class PersistentVolumes {
  readonly #root: string;

  constructor(init: { readonly root: string }) {
    this.#root = init.root;
  }

  /** Made at its first use, for that user, and the next task's after that. */
  async path(
    volume: { readonly id: string; readonly size_mib: number },
    user: Pick<User, 'uid' | 'gid'>,
  ): Promise<string> {
    const directory = this.#directory(volume.id);
    const data = join(directory, 'data');
    if (!existsSync(data)) {
      await mkdir(data, { recursive: true });
      await chown(data, user.uid, user.gid);
    }
    const notes = { id: volume.id, size_mib: volume.size_mib };
    await writeFile(join(directory, 'volume.json'), JSON.stringify(notes));
    return data;
  }

  /** With everything in it; one that is not there is no failure. */
  async wipe(id: string): Promise<void> {
    await rm(this.#directory(id), { recursive: true, force: true });
  }

  #directory(id: string): string {
    return join(this.#root, encodeURIComponent(id).replaceAll('.', '%2E'));
  }
}
