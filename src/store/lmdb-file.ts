/**
 * A look at an LMDB file before LMDB maps it.
 *
 * LMDB trusts its file: a truncated one ends the process with SIGBUS, a foreign one with SIGSEGV, and neither leaves a
 * message. So the two meta pages are checked first: magic number, page size, and that every page they count is there.
 * Offsets from lmdb-js 3.5 (its fork of mdb.c, struct MDB_meta after a page header of 24 bytes).
 */
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { PortolanError } from '../base/errors.ts';

const MAGIC = 0xbeefc0de;
const META_AT = { magic: 24, pageSize: 48, lastPage: 144, end: 160 };

/** Does nothing when there is no file yet; throws 'corrupt' when there is one that LMDB could not survive. */
export async function checkLmdbFile(dir: string): Promise<void> {
  const path = join(dir, 'data.mdb');
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    const { size } = await file.stat();
    if (size > 0) await checkPages(file, size, path);
  } finally {
    await file.close();
  }
}

async function checkPages(file: FileHandle, size: number, path: string): Promise<void> {
  const first = await readMeta(file, 0, path);
  const pageSize = first.readUInt32LE(META_AT.pageSize);
  if (pageSize < 256 || pageSize > 65_536 || (pageSize & (pageSize - 1)) !== 0)
    throw damaged(path, `its page size is ${pageSize}`);
  const second = await readMeta(file, pageSize, path);
  const last = [first, second].map((meta) => meta.readBigUInt64LE(META_AT.lastPage));
  const pages = last.reduce((most, each) => (each > most ? each : most)) + 1n;
  if (BigInt(size) < pages * BigInt(pageSize))
    throw damaged(path, `it ends after ${size} of ${pages * BigInt(pageSize)} bytes`);
}

async function readMeta(file: FileHandle, at: number, path: string): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(META_AT.end), 0, META_AT.end, at);
  if (bytesRead < META_AT.end || buffer.readUInt32LE(META_AT.magic) !== MAGIC)
    throw damaged(path, 'it does not begin as a store does');
  return buffer;
}

export function damaged(path: string, why: string, cause?: unknown): PortolanError {
  return new PortolanError('corrupt', `Cannot open the store "${path}": ${why}`, {
    field: 'state_dir',
    remedy:
      'restore the file from a backup; without one, move it away and start a new cluster (agents keep their ' +
      'blocks until they join it)',
    cause,
  });
}
