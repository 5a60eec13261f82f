/**
 * Net sysctls by dotted or slashed key, of the namespace that the calling thread is in.
 *
 * A key with a slash is a path as it stands (`net/ipv4/conf/eth0.5/forwarding`); otherwise dots separate, as in
 * sysctl(8).
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { PortolanError } from '../base/errors.ts';
import { kernelError } from './errno.ts';

/** The canonical, slashed form; only keys below `net/` belong to a network namespace. */
export function sysctlKey(key: string): string {
  const slashed = key.includes('/') ? key : key.replaceAll('.', '/');
  const parts = slashed.split('/');
  if (
    parts[0] === 'net' &&
    parts.length > 1 &&
    !parts.some((part) => part === '' || part === '..' || part === '.')
  )
    return slashed;
  throw new PortolanError('invalid', `Read sysctl "${key}": it is no net sysctl`, {
    field: 'sysctl',
    remedy: 'name it like net.ipv4.ip_forward or net/ipv4/ip_forward',
  });
}

/** Of a canonical key. */
export function sysctlPath(key: string): string {
  return `/proc/sys/${key}`;
}

export function readSysctlHere(key: string): string | undefined {
  try {
    return readFileSync(sysctlPath(sysctlKey(key)), 'utf8').trimEnd();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw asKernelError(`sysctl ${sysctlKey(key)}`, error);
  }
}

export function writeSysctlHere(key: string, value: string): void {
  try {
    writeFileSync(sysctlPath(sysctlKey(key)), `${value}\n`, { flag: 'r+' });
  } catch (error) {
    throw asKernelError(`sysctl -w ${sysctlKey(key)}=${value}`, error);
  }
}

function asKernelError(operation: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  const errno =
    code === undefined ? undefined : (constants.errno as Record<string, number | undefined>)[code];
  return errno === undefined ? error : kernelError(operation, errno);
}
