/**
 * The fast path of the namespace that the calling thread is in: its programs, and the links they are attached to.
 *
 * Review notes: nothing of it outlives the process or `close`. Without the programs every segment goes through the kernel,
 * which knows each connection, and connections go on.
 */
import { closeSync, existsSync, readFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { PortolanError } from '../../base/errors.ts';
import { macBytes, type Mac } from '../../base/mac.ts';
import { attach, createMap, loadProgram, lookUp, remove, update, type Direction } from '../bpf/objects.ts';
import { kernelError } from '../errno.ts';
import * as libc from '../libc.ts';
import { isErrno } from '../types.ts';
import { ANSWER, ANSWERS, COUNT_BYTES, COUNTS, PORT, QUESTION } from './layout.ts';
import { entryProgram, exitProgram, type FastPathMaps } from './programs.ts';

/** Connection tracking that does not see all segments must not judge by windows: to be `1` before a link is set. */
export const LIBERAL_SYSCTL = 'net/netfilter/nf_conntrack_tcp_be_liberal';

const AF_INET = 2;
const SOCK_DGRAM = 2;

/** The host's end of a veth pair whose other end is a container's, in a namespace of its own. */
export interface ContainerPort {
  readonly link: string;
  /** Of the container's end. */
  readonly mac: Mac;
}

export interface FastPathLinks {
  readonly ports: readonly ContainerPort[];
  /** Further links that flows to containers enter by. */
  readonly entries: readonly string[];
}

/** Segments, since it was opened. */
export interface FastPathCounts {
  /** That did not go through the kernel. */
  readonly passed: number;
  /** That went through it and showed where others may go. */
  readonly learnt: number;
}

interface Attachment {
  readonly index: number;
  readonly direction: Direction;
}

export class FastPath {
  readonly #maps: FastPathMaps;
  readonly #programs: Readonly<Record<Direction, number>>;
  /** For asking the kernel for indexes of links. */
  readonly #socket: number;
  /** By direction and index: what holds the program there. */
  readonly #attached = new Map<string, number>();
  /** By index. */
  #ports: ReadonlyMap<number, Mac> = new Map();

  /** Throws an `unavailable` error, or a kernel error, where the kernel cannot do it (before Linux 6.6). */
  static open(): FastPath {
    if (endianness() !== 'LE')
      throw new PortolanError('unavailable', 'Open the fast path: big-endian processor');
    // There another frame may come in between on the same CPU.
    if (isRealtime()) throw new PortolanError('unavailable', 'Open the fast path: real-time kernel');
    return new FastPath();
  }

  private constructor() {
    const opened: number[] = [];
    const keep = (fd: number): number => {
      opened.push(fd);
      return fd;
    };
    try {
      this.#socket = keep(mustOpen(libc.socket(AF_INET, SOCK_DGRAM | libc.SOCK_CLOEXEC, 0)));
      this.#maps = {
        questions: keep(cpuMap('portolan_asked', QUESTION.bytes, 1)),
        answers: keep(cpuMap('portolan_flows', ANSWER.bytes, ANSWERS)),
        counts: keep(cpuMap('portolan_count', COUNT_BYTES, Object.keys(COUNTS).length)),
        ports: keep(createMap({ name: 'portolan_ports', type: 'hash', ...PORT })),
      };
      this.#programs = {
        ingress: keep(loadProgram('portolan_enter', entryProgram(this.#maps))),
        egress: keep(loadProgram('portolan_leave', exitProgram(this.#maps))),
      };
      mustAttach(this.#programs.ingress);
    } catch (error) {
      opened.forEach(closeSync);
      throw error;
    }
  }

  /** Brings the programs to these links, and away from all others. Links that are not there are left out. */
  set({ ports, entries }: FastPathLinks): void {
    const indexed = ports.map(({ link, mac }) => [this.#indexOf(link), mac] as const);
    const known = new Map(indexed.filter(([index]) => index > 0));
    const others = entries.map((link) => this.#indexOf(link)).filter((index) => index > 0);
    this.#tellPorts(known);
    const wanted = new Map<string, Attachment>();
    for (const index of [...known.keys(), ...others])
      wanted.set(`in ${index}`, { index, direction: 'ingress' });
    for (const index of known.keys()) wanted.set(`out ${index}`, { index, direction: 'egress' });
    for (const [key, fd] of this.#attached) {
      if (wanted.has(key)) continue;
      closeSync(fd);
      this.#attached.delete(key);
    }
    for (const [key, link] of wanted) if (!this.#attached.has(key)) this.#attach(key, link);
  }

  /** Negative when there is none of that name. */
  #indexOf(link: string): number {
    return libc.interfaceIndex(this.#socket, link);
  }

  #tellPorts(known: ReadonlyMap<number, Mac>): void {
    for (const index of this.#ports.keys()) if (!known.has(index)) remove(this.#maps.ports, keyOf(index));
    for (const [index, mac] of known)
      if (this.#ports.get(index) !== mac)
        update(this.#maps.ports, keyOf(index), Buffer.concat([macBytes(mac)], PORT.valueBytes));
    this.#ports = known;
  }

  /** Between asking for its index and now a link may have gone. */
  #attach(key: string, link: Attachment): void {
    try {
      this.#attached.set(key, attach(this.#programs[link.direction], link));
    } catch (error) {
      if (!isErrno(error, 'ENODEV')) throw error;
    }
  }

  counts(): FastPathCounts {
    return { passed: this.#sum(COUNTS.passed), learnt: this.#sum(COUNTS.learnt) };
  }

  #sum(counter: number): number {
    const values = lookUp(this.#maps.counts, keyOf(counter), COUNT_BYTES * possibleCpus());
    let sum = 0;
    for (let at = 0; values !== undefined && at < values.length; at += COUNT_BYTES)
      sum += Number(values.readBigUInt64LE(at));
    return sum;
  }

  close(): void {
    const { ingress, egress } = this.#programs;
    const fds = [...this.#attached.values(), ingress, egress, ...(Object.values(this.#maps) as number[])];
    this.#attached.clear();
    [...fds, this.#socket].forEach(closeSync);
  }
}

/** No link has the index 0, and a kernel that could attach to one says so; another says that the request is invalid. */
function mustAttach(program: number): void {
  try {
    attach(program, { index: 0, direction: 'ingress' });
  } catch (error) {
    if (isErrno(error, 'ENODEV')) return;
    throw new PortolanError('unavailable', 'Open the fast path: this kernel is older than Linux 6.6', {
      cause: error,
    });
  }
}

function mustOpen(fd: number): number {
  if (fd < 0) throw kernelError('open a socket to ask for links', -fd);
  return fd;
}

function cpuMap(name: string, valueBytes: number, entries: number): number {
  return createMap({ name, type: 'perCpuArray', keyBytes: 4, valueBytes, entries });
}

function keyOf(index: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(index);
  return key;
}

/** PREEMPT_RT. */
function isRealtime(): boolean {
  return existsSync('/sys/kernel/realtime') && readFileSync('/sys/kernel/realtime', 'utf8').trim() === '1';
}

/** As `0-63`, or in several ranges: the highest counts. */
function possibleCpus(): number {
  const text = readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim();
  return Number(/(\d+)$/.exec(text)?.[1] ?? 0) + 1;
}
