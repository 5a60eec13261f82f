/** Which processes of the host hold a socket, by proc(5). Read only when a port that is asked for is in use. */
import { readdir, readFile, readlink } from 'node:fs/promises';

/** Ids that runtimes make up. A shorter one may be a word that any command line holds. */
const GENERATED_ID = /^[0-9a-f]{32,}$/;

/** Inodes of the sockets that a container's own supervisor holds: a process with the container's id as an argument. */
export async function socketsOfContainer(container: string): Promise<ReadonlySet<number>> {
  if (!GENERATED_ID.test(container)) return new Set();
  const sockets = new Set<number>();
  for (const pid of await processes()) {
    const words = (await readOrNothing(`/proc/${pid}/cmdline`)).split('\0');
    if (words.includes(container)) for (const inode of await socketsOf(pid)) sockets.add(inode);
  }
  return sockets;
}

/** `12 "nginx"`; `undefined` when no process has it that can be seen, as with sockets of the kernel. */
export async function processHolding(inode: number): Promise<string | undefined> {
  for (const pid of await processes())
    if ((await socketsOf(pid)).includes(inode))
      return `${pid} "${(await readOrNothing(`/proc/${pid}/comm`)).trim()}"`;
  return undefined;
}

async function processes(): Promise<readonly string[]> {
  return (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name));
}

async function socketsOf(pid: string): Promise<readonly number[]> {
  const directory = `/proc/${pid}/fd`;
  // It may end meanwhile.
  const names = await readdir(directory).catch(() => []);
  const targets = await Promise.all(names.map((name) => readlink(`${directory}/${name}`).catch(() => '')));
  return targets.flatMap((target) => {
    const match = /^socket:\[([0-9]+)\]$/.exec(target);
    return match === null ? [] : [Number(match[1])];
  });
}

async function readOrNothing(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
