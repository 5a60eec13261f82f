import { describe, expect, it } from 'vitest';
import { judgeDisk } from './doctor-disk.ts';

const GIB = 1024 ** 3;
const large = {
  directory: '/var/lib/portolan/agent',
  bytes: 100 * GIB,
  bytesFree: 50 * GIB,
  files: 1e6,
  filesFree: 9e5,
};

describe('the disk of state_dir', () => {
  it.each([
    ['has room', {}, 'ok'],
    ['has room though little of a large disk is left', { bytesFree: 2 * GIB }, 'ok'],
    ['is small, but has room', { bytes: GIB, bytesFree: GIB / 4 }, 'ok'],
    ['is nearly full', { bytesFree: GIB / 2 }, 'warning'],
    ['is small and nearly full', { bytes: GIB, bytesFree: GIB / 32 }, 'warning'],
    ['has room for few files', { filesFree: 100 }, 'warning'],
    ['does not count files', { files: 0, filesFree: 0 }, 'ok'],
    ['is full', { bytesFree: 4096 }, 'failed'],
    ['has room for no more file', { filesFree: 0 }, 'failed'],
  ] as const)('%s', (_, change, verdict) => {
    expect(judgeDisk({ ...large, ...change }).verdict).toBe(verdict);
  });

  it('is named, with what is left', () => {
    expect(judgeDisk({ ...large, bytesFree: GIB / 2 })).toMatchObject({
      found: 'nearly full: 512 MiB free for /var/lib/portolan/agent',
      remedy: expect.stringContaining('make room') as string,
    });
  });
});
