/** Whether the file systems have room for what the daemons must write down. */
import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Check } from '../agent/preflight.ts';
import { agentConfig, masterConfig } from '../model/config.ts';
import { loadConfigFile } from '../model/config-file.ts';

const MIB = 1024 * 1024;
/** With less than this the next grant or container may not be written down. */
const FULL_BYTES = 16 * MIB;
/** Images and logs of tasks take so much in a moment; of a small disk, a twentieth. */
const SCARCE_BYTES = 1024 * MIB;
const SCARCE_PART = 0.05;
const SCARCE_FILES_PART = 0.01;

export interface DiskRoom {
  readonly directory: string;
  readonly bytes: number;
  readonly bytesFree: number;
  /** 0 = the file system does not count them. */
  readonly files: number;
  readonly filesFree: number;
}

export function judgeDisk({ directory, bytes, bytesFree, files, filesFree }: DiskRoom): Check {
  const check = 'disk';
  const room = `${(bytesFree / MIB).toFixed(0)} MiB free for ${directory}`;
  const remedy = `make room there, or move it with state_dir`;
  if (bytesFree < FULL_BYTES || (files > 0 && filesFree === 0))
    return { check, verdict: 'failed', found: `full: ${room}, ${filesFree} files`, remedy };
  if (bytesFree < Math.min(SCARCE_BYTES, bytes * SCARCE_PART))
    return { check, verdict: 'warning', found: `nearly full: ${room}`, remedy };
  if (files > 0 && filesFree < files * SCARCE_FILES_PART)
    return { check, verdict: 'warning', found: `${filesFree} files more fit in ${directory}`, remedy };
  return { check, verdict: 'ok', found: room, remedy: '' };
}

/** Of the agent's state, and of the master's where this host has one. */
export async function diskChecks(): Promise<readonly Check[]> {
  const agent = await loadConfigFile(agentConfig, undefined, '/etc/portolan/agent.yaml');
  const master = await loadConfigFile(masterConfig, undefined, '/etc/portolan/master.yaml');
  const directories = [agent.state_dir, ...(existsSync(master.state_dir) ? [master.state_dir] : [])];
  return Promise.all(directories.map(async (directory) => judgeDisk(await roomOf(directory))));
}

async function roomOf(directory: string): Promise<DiskRoom> {
  let there = directory;
  while (!existsSync(there)) there = dirname(there);
  const { bsize, blocks, bavail, files, ffree } = await statfs(there);
  return { directory, bytes: blocks * bsize, bytesFree: bavail * bsize, files, filesFree: ffree };
}
