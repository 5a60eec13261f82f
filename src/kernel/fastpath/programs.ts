/**
 * The two programs of the fast path: large TCP segments to a container of this host that the kernel would do with what it
 * did with the last ones go there at once.
 *
 * Purpose: what connection tracking, translation, routing and bridging cost is paid once in ten milliseconds for a stream,
 * not for each segment.
 * Invariants: a flow is known only by a segment that went all the way through the kernel (same sequence and
 * acknowledgment, entered just before on the same CPU) and left to the container whose MAC it bore; what is known
 * is forgotten after `VALID_NS`, so whatever is changed in the kernel's tables counts after that; segments that begin or end
 * a connection, small ones and anything unusual always go through the kernel (adr/0013).
 * Review notes: what is known is known of the link a flow enters by, so nobody can teach anything about others' flows.
 * Connection tracking does not see most of a stream, and must not judge windows (`tcp_be_liberal`). Neither program
 * writes to a frame but by helpers: direct writes would make the kernel copy the head of every frame that passes.
 */
import { Assembler, type Place, type Register } from '../bpf/assembler.ts';
import { ANSWER, ANSWERS, COUNTS, FLOW, QUESTION } from './layout.ts';

export interface FastPathMaps {
  readonly questions: number;
  readonly answers: number;
  readonly ports: number;
  readonly counts: number;
}

/** Below, the head of a segment costs more than what is spared. */
const MIN_FRAME_BYTES = 4096;
const VALID_NS = 10_000_000;

/** struct __sk_buff. */
const SKB = {
  length: 0,
  protocol: 16,
  vlanPresent: 20,
  ifindex: 40,
  data: 76,
  dataEnd: 80,
  gsoSize: 176,
} as const;
const HELPERS = {
  lookUp: 1,
  storeBytes: 9,
  replaceIpChecksum: 10,
  replaceTcpChecksum: 11,
  checksumDifference: 28,
  changeType: 32,
  redirectToPeer: 155,
  coarseTime: 160,
} as const;
/** TCX_NEXT: as if there were no program. */
const NEXT = -1;
/** PACKET_HOST, include/uapi/linux/if_packet.h. */
const TO_THIS_HOST = 0;
const PSEUDO_HEADER = 0x10;

const ETHERNET_BYTES = 14;
/** ACK and nothing else of URG, RST, SYN and FIN. */
const FLAGS_MASK = 0x37;
const ACK = 0x10;
/** MF and the fragment's offset, in the bytes' order of a frame read little-endian. */
const FRAGMENT_MASK = 0xff3f;
const TCP = { sequence: 4, acknowledgment: 8, flags: 13, checksum: 16, bytes: 20 } as const;

/** Offsets in a frame. */
const V4 = { type: 0x0008, hops: 22, checksum: 24, source: 26, destination: 30, tcp: 34, words: 1 } as const;
const V6 = { type: 0xdd86, hops: 21, source: 22, destination: 38, tcp: 54, words: 4 } as const;
type Family = typeof V4 | typeof V6;

/** The stack: the frame's flow, and what else of it is needed. */
const STACK = { flow: -48, head: -52, hops: -56, acknowledgment: -60, sequence: -64, scratch: -72 } as const;
const CONTEXT: Register = 6;
const DATA: Register = 7;
const END: Register = 8;
const FOUND: Register = 9;
const FRAME: Register = 10;

const value = (number: number) => ({ value: number });
const context = (offset: number): Place => ({ base: CONTEXT, offset });
const stack = (offset: number): Place => ({ base: FRAME, offset });
const found = (offset: number): Place => ({ base: FOUND, offset });
const frame = (offset: number): Place => ({ base: DATA, offset });

/** For every link that flows enter by. */
export function entryProgram(maps: FastPathMaps): Buffer {
  const a = new Assembler();
  takeFlow(a);
  a.load('u32', 1, context(SKB.ifindex)).store('u32', stack(STACK.flow + FLOW.link), 1);
  findAnswer(a, maps, { base: FRAME, offset: STACK.flow }, FOUND, 'unknown');
  for (let offset = 0; offset < FLOW.bytes; offset += 8)
    a.load('u64', 1, stack(STACK.flow + offset))
      .load('u64', 2, found(ANSWER.flow + offset))
      .jumpIf(1, '!=', 2, 'unknown');
  a.call(HELPERS.coarseTime).load('u64', 1, found(ANSWER.until)).jumpIf(1, '<', 0, 'unknown');
  a.load('u32', 1, context(SKB.gsoSize)).load('u32', 2, found(ANSWER.segment)).jumpIf(1, '>', 2, 'unknown');
  a.load('u32', 1, stack(STACK.flow + FLOW.family)).jumpIf(1, '==', value(V4.type), 'rewrite4');
  rewrite(a, V6, '6');
  a.jump('go').label('rewrite4');
  rewrite(a, V4, '4');
  a.label('go').do('mov', 1, CONTEXT).do('mov', 2, value(TO_THIS_HOST)).call(HELPERS.changeType);
  count(a, maps, COUNTS.passed);
  a.load('u32', 1, found(ANSWER.out)).do('mov', 2, value(0)).call(HELPERS.redirectToPeer).exit();
  a.label('unknown');
  ask(a, maps);
  return pass(a);
}

/** For every port that flows leave by to a container. */
export function exitProgram(maps: FastPathMaps): Buffer {
  const a = new Assembler();
  takeFlow(a);
  zeroKey(a);
  lookUp(a, maps.questions);
  a.jumpIf(0, '==', value(0), 'pass').do('mov', FOUND, 0);
  a.load('u32', 1, found(QUESTION.open)).jumpIf(1, '!=', value(1), 'pass');
  for (const [told, seen] of [
    [QUESTION.sequence, STACK.sequence],
    [QUESTION.acknowledgment, STACK.acknowledgment],
    [QUESTION.flow + FLOW.family, STACK.flow + FLOW.family],
    // Whoever gives a stream another class of traffic sees all of it.
    [QUESTION.head, STACK.head],
  ] as const)
    a.load('u32', 1, found(told)).load('u32', 2, stack(seen)).jumpIf(1, '!=', 2, 'pass');
  a.load('u32', 1, found(QUESTION.hops)).load('u32', 2, stack(STACK.hops)).do('sub', 1, 2);
  a.jumpIf(1, '>', value(1), 'pass').store('u32', stack(STACK.hops), 1);
  mustBeForContainer(a, maps);
  a.store('u32', found(QUESTION.open), value(0));
  findAnswer(a, maps, found(QUESTION.flow), END, 'pass');
  answer(a);
  count(a, maps, COUNTS.learnt);
  return pass(a);
}

function pass(a: Assembler): Buffer {
  return a.label('pass').do('mov', 0, value(NEXT)).exit().bytes();
}

/** Goes to `pass` unless the frame is a large segment in the middle of a connection; its flow is on the stack then. */
function takeFlow(a: Assembler): void {
  a.do('mov', CONTEXT, 1);
  a.load('u32', 1, context(SKB.length)).jumpIf(1, '<', value(MIN_FRAME_BYTES), 'pass');
  a.load('u32', 1, context(SKB.gsoSize)).jumpIf(1, '==', value(0), 'pass');
  a.load('u32', 1, context(SKB.vlanPresent)).jumpIf(1, '!=', value(0), 'pass');
  a.load('u32', DATA, context(SKB.data)).load('u32', END, context(SKB.dataEnd));
  a.load('u32', 1, context(SKB.protocol)).jumpIf(1, '==', value(V4.type), 'take4');
  a.jumpIf(1, '!=', value(V6.type), 'pass');
  mustHold(a, V6);
  a.load('u8', 1, frame(14)).do('and', 1, value(0xf0)).jumpIf(1, '!=', value(0x60), 'pass');
  a.load('u8', 1, frame(20)).jumpIf(1, '!=', value(6), 'pass');
  take(a, V6);
  a.jump('taken').label('take4');
  mustHold(a, V4);
  a.load('u8', 1, frame(14)).jumpIf(1, '!=', value(0x45), 'pass');
  a.load('u8', 1, frame(23)).jumpIf(1, '!=', value(6), 'pass');
  a.load('u16', 1, frame(20)).jumpIf(1, '&', value(FRAGMENT_MASK), 'pass');
  take(a, V4);
  a.label('taken');
}

function mustHold(a: Assembler, { tcp }: Family): void {
  a.do('mov', 1, DATA)
    .do('add', 1, value(tcp + TCP.bytes))
    .jumpIf(1, '>', END, 'pass');
}

function take(a: Assembler, family: Family): void {
  const { tcp, hops, words } = family;
  a.load('u8', 1, frame(tcp + TCP.flags))
    .do('and', 1, value(FLAGS_MASK))
    .jumpIf(1, '!=', value(ACK), 'pass');
  a.load('u8', 1, frame(hops)).jumpIf(1, '<=', value(1), 'pass').store('u32', stack(STACK.hops), 1);
  a.load('u16', 1, frame(ETHERNET_BYTES)).store('u32', stack(STACK.head), 1);
  for (const [from, to] of [
    [TCP.sequence, STACK.sequence],
    [TCP.acknowledgment, STACK.acknowledgment],
    [0, STACK.flow + FLOW.ports],
  ] as const)
    a.load('u32', 1, frame(tcp + from)).store('u32', stack(to), 1);
  a.store('u32', stack(STACK.flow + FLOW.ports + 4), value(0));
  a.store('u32', stack(STACK.flow + FLOW.family), value(family.type));
  for (const [from, to] of [
    [family.source, FLOW.source],
    [family.destination, FLOW.destination],
  ] as const)
    for (let word = 0; word < 4; word++) {
      const place = stack(STACK.flow + to + 4 * word);
      if (word < words) a.load('u32', 1, frame(from + 4 * word)).store('u32', place, 1);
      else a.store('u32', place, value(0));
    }
}

/** Leaves the place for what is known of a flow in `to`. */
function findAnswer(a: Assembler, maps: FastPathMaps, flow: Place, to: Register, otherwise: string): void {
  const at = (offset: number): Place => ({ base: flow.base, offset: flow.offset + offset });
  a.load('u16', 1, at(FLOW.ports))
    .load('u16', 2, at(FLOW.ports + 2))
    .do('xor', 1, 2);
  for (const offset of [FLOW.source + 2, FLOW.destination + 2, FLOW.source + 14, FLOW.destination + 14])
    a.load('u16', 2, at(offset)).do('xor', 1, 2);
  // The bytes of a word in the order of the network: those that differ most come last.
  a.do('mov', 2, 1).do('and', 2, value(0xff00)).do('and', 1, value(0xff));
  a.store('u32', stack(STACK.scratch), 2).load('u8', 2, stack(STACK.scratch + 1));
  a.do('add', 1, 1)
    .do('xor', 1, 2)
    .do('and', 1, value(ANSWERS - 1));
  a.store('u32', stack(STACK.scratch), 1);
  lookUp(a, maps.answers);
  a.jumpIf(0, '==', value(0), otherwise).do('mov', to, 0);
}

/** Of the key in `scratch`. */
function lookUp(a: Assembler, map: number): void {
  a.loadMap(1, map).do('mov', 2, FRAME).do('add', 2, value(STACK.scratch)).call(HELPERS.lookUp);
}

function zeroKey(a: Assembler): void {
  a.store('u32', stack(STACK.scratch), value(0));
}

/** The kernel shall show what it does with this segment. */
function ask(a: Assembler, maps: FastPathMaps): void {
  zeroKey(a);
  lookUp(a, maps.questions);
  a.jumpIf(0, '==', value(0), 'pass');
  for (let offset = 0; offset < FLOW.bytes; offset += 8)
    a.load('u64', 1, stack(STACK.flow + offset)).store('u64', { base: 0, offset: QUESTION.flow + offset }, 1);
  for (const [from, to] of [
    [STACK.sequence, QUESTION.sequence],
    [STACK.acknowledgment, QUESTION.acknowledgment],
    [STACK.hops, QUESTION.hops],
    [STACK.head, QUESTION.head],
  ] as const)
    a.load('u32', 1, stack(from)).store('u32', { base: 0, offset: to }, 1);
  a.store('u32', { base: 0, offset: QUESTION.open }, value(1));
}

/** A bridge floods what it does not know the port of. */
function mustBeForContainer(a: Assembler, maps: FastPathMaps): void {
  a.load('u32', 1, context(SKB.ifindex)).store('u32', stack(STACK.scratch), 1);
  lookUp(a, maps.ports);
  a.jumpIf(0, '==', value(0), 'pass');
  a.load('u32', 1, { base: 0, offset: 0 }).load('u32', 2, frame(0)).jumpIf(1, '!=', 2, 'pass');
  a.load('u16', 1, { base: 0, offset: 4 }).load('u16', 2, frame(4)).jumpIf(1, '!=', 2, 'pass');
}

/** FOUND is the question, END the place of the answer, the frame what came of it. */
function answer(a: Assembler): void {
  const told = (offset: number): Place => ({ base: END, offset });
  const differs = 5;
  a.do('mov', differs, value(0));
  for (let offset = 0; offset < FLOW.bytes; offset += 8)
    a.load('u64', 1, found(QUESTION.flow + offset)).store('u64', told(ANSWER.flow + offset), 1);
  for (let offset = 0; offset < 32; offset += 8)
    a.load('u64', 1, stack(STACK.flow + FLOW.source + offset))
      .store('u64', told(ANSWER.source + offset), 1)
      .load('u64', 2, found(QUESTION.flow + FLOW.source + offset))
      .jumpIf(1, '==', 2, `same${offset}`)
      .do('mov', differs, value(1))
      .label(`same${offset}`);
  a.load('u32', 1, stack(STACK.flow + FLOW.ports))
    .store('u32', told(ANSWER.ports), 1)
    .load('u32', 2, found(QUESTION.flow + FLOW.ports))
    .jumpIf(1, '==', 2, 'samePorts')
    .do('mov', differs, value(1))
    .label('samePorts');
  a.store('u32', told(ANSWER.translated), differs);
  a.load('u32', 1, stack(STACK.hops)).store('u32', told(ANSWER.hops), 1);
  a.load('u32', 1, context(SKB.ifindex)).store('u32', told(ANSWER.out), 1);
  a.load('u32', 1, context(SKB.gsoSize)).store('u32', told(ANSWER.segment), 1);
  for (const offset of [0, 4, 8])
    a.load('u32', 1, frame(offset)).store('u32', told(ANSWER.ethernet + offset), 1);
  a.load('u16', 1, frame(12)).store('u16', told(ANSWER.ethernet + 12), 1);
  a.call(HELPERS.coarseTime).do('add', 0, value(VALID_NS)).store('u64', told(ANSWER.until), 0);
}

/** Makes the frame what the kernel would; FOUND is the answer. */
function rewrite(a: Assembler, family: Family, name: string): void {
  const { tcp, hops } = family;
  const isV4 = 'checksum' in family;
  a.load('u32', 1, found(ANSWER.translated)).jumpIf(1, '==', value(0), `untranslated${name}`);
  a.do('mov', 1, FRAME)
    .do('add', 1, value(STACK.flow + FLOW.source))
    .do('mov', 2, value(32));
  a.do('mov', 3, FOUND).do('add', 3, value(ANSWER.source)).do('mov', 4, value(32)).do('mov', 5, value(0));
  a.call(HELPERS.checksumDifference).do('mov', END, 0);
  const tcpChecksum = tcp + TCP.checksum;
  replaceChecksum(a, HELPERS.replaceTcpChecksum, tcpChecksum, PSEUDO_HEADER, () =>
    a.do('mov', 3, value(0)).do('mov', 4, END),
  );
  replaceChecksum(a, HELPERS.replaceTcpChecksum, tcpChecksum, 4, () =>
    a.load('u32', 3, stack(STACK.flow + FLOW.ports)).load('u32', 4, found(ANSWER.ports)),
  );
  store(a, tcp, ANSWER.ports, 4);
  if (isV4) {
    replaceChecksum(a, HELPERS.replaceIpChecksum, family.checksum, 0, () =>
      a.do('mov', 3, value(0)).do('mov', 4, END),
    );
    store(a, family.source, ANSWER.source, 4);
    store(a, family.destination, ANSWER.destination, 4);
  } else store(a, family.source, ANSWER.source, 32);
  a.label(`untranslated${name}`);
  a.load('u32', 1, found(ANSWER.hops)).jumpIf(1, '==', value(0), `bridged${name}`);
  if (isV4)
    // Hops and protocol are one word of the checksum.
    replaceChecksum(a, HELPERS.replaceIpChecksum, family.checksum, 2, () =>
      a.load('u32', 3, stack(STACK.hops)).do('add', 3, value(0x0600)).do('mov', 4, 3).do('sub', 4, value(1)),
    );
  a.load('u32', 1, stack(STACK.hops)).do('sub', 1, value(1)).store('u32', stack(STACK.hops), 1);
  a.do('mov', 1, CONTEXT).do('mov', 2, value(hops)).do('mov', 3, FRAME).do('add', 3, value(STACK.hops));
  a.do('mov', 4, value(1)).do('mov', 5, value(0)).call(HELPERS.storeBytes);
  a.label(`bridged${name}`);
  store(a, 0, ANSWER.ethernet, ETHERNET_BYTES);
}

/** `operands` puts what was there and what is there now into r3 and r4. */
function replaceChecksum(
  a: Assembler,
  helper: number,
  at: number,
  flags: number,
  operands: () => unknown,
): void {
  a.do('mov', 1, CONTEXT).do('mov', 2, value(at));
  operands();
  a.do('mov', 5, value(flags)).call(helper);
}

/** Writes a part of the answer to the frame. */
function store(a: Assembler, at: number, from: number, bytes: number): void {
  a.do('mov', 1, CONTEXT).do('mov', 2, value(at)).do('mov', 3, FOUND).do('add', 3, value(from));
  a.do('mov', 4, value(bytes)).do('mov', 5, value(0)).call(HELPERS.storeBytes);
}

function count(a: Assembler, maps: FastPathMaps, index: number): void {
  a.store('u32', stack(STACK.scratch), value(index));
  lookUp(a, maps.counts);
  a.jumpIf(0, '==', value(0), `counted${index}`);
  a.load('u64', 1, { base: 0, offset: 0 }).do('add', 1, value(1)).store('u64', { base: 0, offset: 0 }, 1);
  a.label(`counted${index}`);
}
