/**
 * An assembler for eBPF: a program as a list of instructions, with labels for what is jumped to.
 *
 * Formats: Documentation/bpf/standardization/instruction-set.rst of Linux; RFC 9669. Little-endian machines only.
 * Review notes: the kernel's verifier is the judge of a program; here only what could not be encoded is refused.
 */
import { assert } from '../../base/assert.ts';

/** r0 = result; r1 to r5 = arguments, lost by a call; r6 to r9 outlive calls; r10 = end of the stack, which grows down. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;
export type Size = 'u8' | 'u16' | 'u32' | 'u64';
export type Comparison = keyof typeof COMPARISONS;
export type Arithmetic = keyof typeof ARITHMETIC;

export interface Place {
  readonly base: Register;
  readonly offset: number;
}

const LDX = 0x01;
const ST = 0x02;
const STX = 0x03;
const JMP = 0x05;
const JMP32 = 0x06;
const ALU64 = 0x07;
const MEM = 0x60;
const SIZES = { u32: 0x00, u16: 0x08, u8: 0x10, u64: 0x18 } as const;
const FROM_REGISTER = 0x08;
const ARITHMETIC = { add: 0x00, sub: 0x10, and: 0x50, xor: 0xa0, mov: 0xb0 } as const;
const COMPARISONS = {
  '==': 0x10,
  '>': 0x20,
  '>=': 0x30,
  '&': 0x40,
  '!=': 0x50,
  '<': 0xa0,
  '<=': 0xb0,
} as const;
const CALL = 0x80;
const EXIT = 0x90;
/** Two instructions long. */
const LOAD_64 = 0x18;
const PSEUDO_MAP_FD = 1;
const INSTRUCTION_BYTES = 8;

interface Instruction {
  readonly code: number;
  readonly to?: number;
  readonly from?: number;
  readonly offset?: number;
  /** In place of `offset`. */
  readonly label?: string;
  readonly immediate?: number;
}

/** Operands are a register by name, or a number that fits 32 bits. */
export type Operand = Register | { readonly value: number };

export class Assembler {
  readonly #instructions: Instruction[] = [];
  readonly #labels = new Map<string, number>();

  /** What comes next can be jumped to by this name, from before it alone: programs have no loops. */
  label(name: string): this {
    assert(!this.#labels.has(name), `label ${name} once`);
    this.#labels.set(name, this.#instructions.length);
    return this;
  }

  load(size: Size, to: Register, { base, offset }: Place): this {
    return this.#add({ code: LDX | MEM | SIZES[size], to, from: base, offset });
  }

  store(size: Size, { base, offset }: Place, from: Operand): this {
    if (typeof from === 'number') return this.#add({ code: STX | MEM | SIZES[size], to: base, from, offset });
    return this.#add({ code: ST | MEM | SIZES[size], to: base, offset, immediate: from.value });
  }

  /** In 64 bits. */
  do(what: Arithmetic, to: Register, operand: Operand): this {
    return this.#operate(ALU64 | ARITHMETIC[what], to, operand, {});
  }

  /** Jumps when `one` compares so with `other`, unsigned, in 64 bits; '&' = when they have a bit in common. */
  jumpIf(one: Register, how: Comparison, other: Operand, label: string): this {
    return this.#operate(JMP | COMPARISONS[how], one, other, { label });
  }

  /** Of the lower 32 bits. */
  jumpIf32(one: Register, how: Comparison, other: Operand, label: string): this {
    return this.#operate(JMP32 | COMPARISONS[how], one, other, { label });
  }

  jump(label: string): this {
    return this.#add({ code: JMP, label });
  }

  /** Calls a helper by its number (include/uapi/linux/bpf.h, ___BPF_FUNC_MAPPER). */
  call(helper: number): this {
    return this.#add({ code: JMP | CALL, immediate: helper });
  }

  loadMap(to: Register, fd: number): this {
    this.#add({ code: LOAD_64, to, from: PSEUDO_MAP_FD, immediate: fd });
    return this.#add({ code: 0 });
  }

  exit(): this {
    return this.#add({ code: JMP | EXIT });
  }

  bytes(): Buffer {
    const bytes = Buffer.alloc(this.#instructions.length * INSTRUCTION_BYTES);
    for (const [index, instruction] of this.#instructions.entries()) {
      const { code, to = 0, from = 0, immediate = 0 } = instruction;
      const at = index * INSTRUCTION_BYTES;
      bytes.writeUInt8(code, at);
      bytes.writeUInt8((from << 4) | to, at + 1);
      bytes.writeInt16LE(this.#offsetOf(instruction, index), at + 2);
      bytes.writeInt32LE(immediate | 0, at + 4);
    }
    return bytes;
  }

  /** Jumps count from the instruction after them. */
  #offsetOf({ label, offset = 0 }: Instruction, index: number): number {
    if (label === undefined) return offset;
    const target = this.#labels.get(label);
    assert(target !== undefined && target > index, `label ${label} after its jump`);
    return target - index - 1;
  }

  #operate(code: number, to: Register, operand: Operand, rest: { readonly label?: string }): this {
    if (typeof operand === 'number')
      return this.#add({ code: code | FROM_REGISTER, to, from: operand, ...rest });
    return this.#add({ code, to, immediate: operand.value, ...rest });
  }

  #add(instruction: Instruction): this {
    this.#instructions.push(instruction);
    return this;
  }
}
