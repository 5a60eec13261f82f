/**
 * Keeps out of a monitor's socket the echoes of our own changes, and what the kernel learns about its neighbours: a
 * classic BPF program that the kernel runs for every notification.
 *
 * Purpose: programming thousands of remote agents costs neither the kernel's memory nor our time for being told of it,
 * and an idle agent is not woken whenever an entry of the underlay has been confirmed or grows old.
 * Invariants: it drops addresses, routes, neighbours and rules that carry the port id of one of our sockets; links
 * pass, since the monitor must know what each shows, and so does what carries no port id (echoes.ts), but for neighbours
 * in a state that the kernel itself keeps: ours are permanent, which it never changes.
 * Review notes: a program reads big-endian, a netlink header is in host order, hence the swapped port ids.
 */
import { AF_BRIDGE, RTM_NEWADDR, RTM_NEWNEIGH } from './rtnetlink/constants.ts';

/** BPF_LD|BPF_B|BPF_ABS and the like, include/uapi/linux/bpf_common.h. */
const LOAD_BYTE = 0x30;
const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const JUMP_IF_AT_LEAST = 0x35;
const JUMP_IF_ANY_BIT = 0x45;
const RETURN = 0x06;
const PASS = 0xffff_ffff;
const DROP = 0;
/** In struct nlmsghdr: types of rtnetlink fit into the low byte. */
const TYPE_OFFSET = 4;
const PORT_OFFSET = 12;
/** In struct ndmsg, behind it: the family, and the low byte of the state. */
const FAMILY_OFFSET = 16;
const STATE_OFFSET = 24;
/** NUD_NOARP and NUD_PERMANENT. */
const FIXED_STATES = 0xc0;
const INSTRUCTION_BYTES = 8;
/** A jump reaches 255 instructions; whoever has more sockets reads the echoes of the others. */
const MAX_PORTS = 64;

interface Instruction {
  readonly code: number;
  readonly value: number;
  /** Instructions to skip when the comparison holds, and when it does not. */
  readonly onTrue?: number;
  readonly otherwise?: number;
}

/** The program for these port ids. */
export function ownFilter(portIds: Iterable<number>): Uint8Array {
  const ports = [...portIds].slice(0, MAX_PORTS);
  const learned: readonly Instruction[] = [
    { code: JUMP_IF_EQUAL, value: RTM_NEWNEIGH, otherwise: 6 },
    { code: LOAD_BYTE, value: FAMILY_OFFSET },
    { code: JUMP_IF_EQUAL, value: AF_BRIDGE, onTrue: 4 },
    { code: LOAD_BYTE, value: STATE_OFFSET },
    { code: JUMP_IF_ANY_BIT, value: FIXED_STATES, onTrue: 2 },
    { code: LOAD_WORD, value: PORT_OFFSET },
    { code: JUMP_IF_EQUAL, value: 0, onTrue: ports.length + 2 },
  ];
  return assemble([
    { code: LOAD_BYTE, value: TYPE_OFFSET },
    // Links are the only types below addresses.
    { code: JUMP_IF_AT_LEAST, value: RTM_NEWADDR, otherwise: learned.length + 1 + ports.length },
    ...learned,
    { code: LOAD_WORD, value: PORT_OFFSET },
    ...ports.map((port, at) => ({ code: JUMP_IF_EQUAL, value: swapped(port), onTrue: ports.length - at })),
    { code: RETURN, value: PASS },
    { code: RETURN, value: DROP },
  ]);
}

function swapped(value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.readUInt32BE();
}

/** struct sock_filter: code, two jumps, value. */
function assemble(program: readonly Instruction[]): Uint8Array {
  const bytes = Buffer.alloc(program.length * INSTRUCTION_BYTES);
  for (const [at, { code, value, onTrue = 0, otherwise = 0 }] of program.entries()) {
    const offset = at * INSTRUCTION_BYTES;
    bytes.writeUInt16LE(code, offset);
    bytes.writeUInt8(onTrue, offset + 2);
    bytes.writeUInt8(otherwise, offset + 3);
    bytes.writeUInt32LE(value, offset + 4);
  }
  return bytes;
}
