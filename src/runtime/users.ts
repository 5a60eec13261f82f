/** Who a program runs as, by the passwd(5) and group(5) files of the root that it runs on. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PortolanError } from '../base/errors.ts';

export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  /** Absent = the file names none. */
  readonly home?: string;
}

export const ROOT: User = { uid: 0, gid: 0, groups: [], home: '/root' };

/** Reads `name`, `uid`, `name:group` and the like, as images and Marathon write them. */
export async function findUser(root: string, text: string): Promise<User> {
  const [user = '', group] = text.split(':');
  const passwd = await lines(join(root, 'etc/passwd'));
  const groups = await lines(join(root, 'etc/group'));
  const entry = passwd.find(([name, , uid]) => name === user || uid === user);
  const uid = numberOf(entry?.[2] ?? user);
  if (uid === undefined) throw unknown('user', user);
  const gid = group === undefined ? numberOf(entry?.[3] ?? '0') : gidOf(groups, group);
  if (gid === undefined) throw unknown('group', group ?? '');
  const name = entry?.[0] ?? '';
  const others = groups
    .filter(([, , , members = '']) => name !== '' && members.split(',').includes(name))
    .flatMap(([, , id = '']) => numberOf(id) ?? []);
  const home = entry?.[5] ?? '';
  return { uid, gid, groups: others, ...(home === '' ? {} : { home }) };
}

function gidOf(groups: readonly (readonly string[])[], group: string): number | undefined {
  return numberOf(groups.find(([name, , gid]) => name === group || gid === group)?.[2] ?? group);
}

async function lines(path: string): Promise<readonly (readonly string[])[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.split('\n').map((line) => line.split(':'));
}

function numberOf(text: string): number | undefined {
  return /^[0-9]{1,10}$/.test(text) ? Number(text) : undefined;
}

function unknown(what: string, name: string): PortolanError {
  return new PortolanError(
    'invalid',
    `Cannot run as ${what} "${name}": the container's root has no such ${what}`,
    {
      field: 'user',
      remedy: 'name one of its /etc/passwd and /etc/group, or a number',
    },
  );
}
