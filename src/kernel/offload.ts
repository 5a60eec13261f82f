/**
 * Generic receive offload (GRO) of a device, which the kernel keeps for ethtool(8) and not below /proc/sys.
 *
 * It is addressed as if it were a sysctl, `net/ethtool/<device>/gro` with the values 0 and 1, so that whoever plans,
 * repairs and tells of sysctls does the same for it.
 */
import { kernelError, kernelErrorOf } from './errno.ts';
import type { NetlinkSocket } from './netlink/socket.ts';
import { isErrno } from './types.ts';

/** The device that a key speaks of; `undefined` when it is the key of a sysctl. */
export function offloadDevice(key: string): string | undefined {
  return /^net\/ethtool\/([^/]+)\/gro$/.exec(key)?.[1];
}

/** `undefined` when there is no such device. */
export function readOffload(socket: NetlinkSocket, device: string): string | undefined {
  const result = socket.receiveOffload(device);
  if (result >= 0) return String(result);
  const error = kernelError(`ethtool -k ${device}`, -result);
  if (isErrno(error, 'ENODEV')) return undefined;
  throw error;
}

export function writeOffload(socket: NetlinkSocket, device: string, value: string): void {
  const operation = `ethtool -K ${device} gro ${value}`;
  if (value !== '0' && value !== '1') throw kernelErrorOf(operation, 'EINVAL');
  const result = socket.setReceiveOffload(device, value === '1');
  if (result < 0) throw kernelError(operation, -result);
}
