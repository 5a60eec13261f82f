/**
 * Maps, programs and links of eBPF, by bpf(2); include/uapi/linux/bpf.h.
 *
 * Each is a file descriptor: when it is closed, or the process ends in whatever way, the kernel takes the object away.
 */
import { PortolanError } from '../../base/errors.ts';
import { kernelError } from '../errno.ts';
import * as libc from '../libc.ts';

const MAP_CREATE = 0;
const MAP_LOOKUP = 1;
const MAP_UPDATE = 2;
const MAP_DELETE = 3;
const PROG_LOAD = 5;
const LINK_CREATE = 28;
const ENOENT = 2;
const NAME_BYTES = 16;
/** Larger than what of `union bpf_attr` is used here; the rest must be zero. */
const ATTRIBUTE_BYTES = 128;
const LOG_BYTES = 256 * 1024;

/** enum bpf_map_type. */
const MAP_TYPES = { hash: 1, perCpuArray: 6 } as const;
/** BPF_F_NO_PREALLOC, for maps that are mostly empty: memory for what is there. */
const NOT_AHEAD = 1;
/** BPF_PROG_TYPE_SCHED_CLS: what sees frames as they enter or leave a link. */
const SCHED_CLS = 3;
/** enum bpf_attach_type; Linux 6.6 or later. */
const ATTACH = { ingress: 46, egress: 47 } as const;
export type Direction = keyof typeof ATTACH;

export interface MapShape {
  readonly name: string;
  readonly type: keyof typeof MAP_TYPES;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly entries: number;
}

/** Returns the map's file descriptor. Throws a kernel error. */
export function createMap(shape: MapShape): number {
  const attributes = Buffer.alloc(ATTRIBUTE_BYTES);
  const { type, keyBytes, valueBytes, entries, name } = shape;
  for (const [index, value] of [MAP_TYPES[type], keyBytes, valueBytes, entries].entries())
    attributes.writeUInt32LE(value, index * 4);
  if (type === 'hash') attributes.writeUInt32LE(NOT_AHEAD, 16);
  attributes.write(name, 28, NAME_BYTES - 1);
  return mustBe(libc.bpf(MAP_CREATE, attributes), `create BPF map "${name}"`);
}

/** Of a map of CPUs the values of all possible ones, each rounded up to eight bytes. `undefined` = not there. */
export function lookUp(map: number, key: Uint8Array, valueBytes: number): Buffer | undefined {
  const value = Buffer.alloc(valueBytes);
  const result = libc.bpf(MAP_LOOKUP, elementAttributes(map, key, value));
  if (result === -ENOENT) return undefined;
  mustBe(result, 'read from a BPF map');
  return value;
}

export function update(map: number, key: Uint8Array, value: Uint8Array): void {
  mustBe(libc.bpf(MAP_UPDATE, elementAttributes(map, key, value)), 'write to a BPF map');
}

/** Harmless when it is not there. */
export function remove(map: number, key: Uint8Array): void {
  const result = libc.bpf(MAP_DELETE, elementAttributes(map, key));
  if (result !== -ENOENT) mustBe(result, 'remove from a BPF map');
}

function elementAttributes(map: number, key: Uint8Array, value?: Uint8Array): Buffer {
  const attributes = Buffer.alloc(ATTRIBUTE_BYTES);
  attributes.writeUInt32LE(map, 0);
  attributes.writeBigUInt64LE(libc.addressOf(key), 8);
  if (value !== undefined) attributes.writeBigUInt64LE(libc.addressOf(value), 16);
  return attributes;
}

/** Loads a program for frames of a link; returns its file descriptor. Throws a kernel error with the verifier's last words. */
export function loadProgram(name: string, instructions: Buffer): number {
  const license = Buffer.from('GPL\0');
  const load = (log: Buffer | undefined): number => {
    const attributes = Buffer.alloc(ATTRIBUTE_BYTES);
    attributes.writeUInt32LE(SCHED_CLS, 0);
    attributes.writeUInt32LE(instructions.length / 8, 4);
    attributes.writeBigUInt64LE(libc.addressOf(instructions), 8);
    attributes.writeBigUInt64LE(libc.addressOf(license), 16);
    if (log !== undefined) {
      attributes.writeUInt32LE(1, 24);
      attributes.writeUInt32LE(log.length, 28);
      attributes.writeBigUInt64LE(libc.addressOf(log), 32);
    }
    attributes.write(name, 48, NAME_BYTES - 1);
    return libc.bpf(PROG_LOAD, attributes);
  };
  const result = load(undefined);
  if (result >= 0) return result;
  const log = Buffer.alloc(LOG_BYTES);
  const again = load(log);
  if (again >= 0) return again;
  throw new PortolanError('unavailable', `Load BPF program "${name}": ${lastLines(log)}`, {
    cause: kernelError(`load BPF program "${name}"`, -again),
  });
}

function lastLines(log: Buffer): string {
  const end = log.indexOf(0);
  const lines = log
    .toString('utf8', 0, end < 0 ? log.length : end)
    .trim()
    .split('\n');
  return lines.slice(-3).join('; ') || 'the kernel refuses it';
}

/** Lets a link's frames pass the program before any other; returns the file descriptor that holds it there. */
export function attach(
  program: number,
  link: { readonly index: number; readonly direction: Direction },
): number {
  const attributes = Buffer.alloc(ATTRIBUTE_BYTES);
  for (const [index, value] of [program, link.index, ATTACH[link.direction]].entries())
    attributes.writeUInt32LE(value, index * 4);
  return mustBe(libc.bpf(LINK_CREATE, attributes), `attach a BPF program to link ${link.index}`);
}

function mustBe(result: number, operation: string): number {
  if (result < 0) throw kernelError(operation, -result);
  return result;
}
