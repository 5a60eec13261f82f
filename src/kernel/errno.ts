/** errno as typed errors: the name that callers compare, and the sentence that people read. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { KernelError, type ErrnoCode } from './types.ts';

const known: readonly Exclude<ErrnoCode, 'other'>[] = [
  'EPERM',
  'ENOENT',
  'ESRCH',
  'EINTR',
  'EIO',
  'ENXIO',
  'EAGAIN',
  'ENOMEM',
  'EACCES',
  'EBUSY',
  'EEXIST',
  'ENODEV',
  'EINVAL',
  'ENFILE',
  'EMFILE',
  'ENOSPC',
  'EROFS',
  'ERANGE',
  'ENOBUFS',
  'EOPNOTSUPP',
  'EADDRINUSE',
  'EADDRNOTAVAIL',
  'ENETDOWN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EAFNOSUPPORT',
];

/** Not all of errno(3) is in Node's table: the block-device era ones are not. */
const numbers: Readonly<Record<string, number | undefined>> = constants.errno;
const codes: ReadonlyMap<number, ErrnoCode> = new Map(
  known.flatMap((code) => {
    const errno = numbers[code];
    return errno === undefined ? [] : [[errno, code] as const];
  }),
);

/** Node makes a new map at every call. */
const sentences = getSystemErrorMap();

/** The name of a positive errno. */
export function errnoCode(errno: number): ErrnoCode {
  return codes.get(errno) ?? 'other';
}

/** The positive errno of a name. */
export function errnoNumber(code: Exclude<ErrnoCode, 'other'>): number {
  return numbers[code] ?? 0;
}

/**
 * The error of one operation: `ip route replace 9.0.1.0/24 dev x: no such device (ENODEV)`.
 * `detail` is the kernel's own sentence (NLMSGERR_ATTR_MSG) where it gave one.
 */
export function kernelError(operation: string, errno: number, detail?: string): KernelError {
  const [name, text] = sentences.get(-errno) ?? [`errno ${errno}`, 'unknown error'];
  const why = detail === undefined || detail === '' ? text : `${text}: ${detail}`;
  return new KernelError(`${operation}: ${why} (${name})`, errno, errnoCode(errno));
}

/** The same from the name. */
export function kernelErrorOf(operation: string, code: Exclude<ErrnoCode, 'other'>): KernelError {
  return kernelError(operation, errnoNumber(code));
}
