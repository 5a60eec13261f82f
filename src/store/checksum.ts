/** A stored value's frame: `<checksum> <revision> <value>`, so that damage is told from data. */
import { createHash } from 'node:crypto';
import { PortolanError } from '../base/errors.ts';
import type { StoreEntry } from './types.ts';

/** 64 bits of SHA-256: the system's CRC-32 is not in Node 20's zlib, and a value is hashed in microseconds. */
function checksum(key: string, revision: number, value: string): string {
  return createHash('sha256').update(`${key}\n${revision}\n${value}`).digest('hex').slice(0, 16);
}

export function encodeEntry({ key, value, revision }: StoreEntry): string {
  return `${checksum(key, revision, value)} ${revision} ${value}`;
}

/** Throws 'corrupt', naming the key, when the frame is not what was written. */
export function decodeEntry(key: string, frame: string): StoreEntry {
  const end = frame.indexOf(' ', 17);
  const revision = Number(frame.slice(17, end));
  const value = frame.slice(end + 1);
  if (end > 17 && frame.slice(0, 16) === checksum(key, revision, value)) return { key, value, revision };
  throw new PortolanError('corrupt', `Cannot read key "${key}" of the store: its checksum does not match`, {
    field: key,
    remedy: 'restore the state directory from a backup; agents keep their blocks meanwhile',
  });
}
