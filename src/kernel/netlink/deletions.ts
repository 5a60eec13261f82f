/**
 * Removing links without holding anybody up.
 *
 * RTM_DELLINK does two things (net/core/dev.c, unregister_netdevice_many and netdev_run_todo): under the kernel's lock it
 * takes the link off every list, with its addresses, routes, sysctls and, of a veth, its other end; then the call waits about
 * 20 ms for RCU until the memory can be freed, whether it removes one link or a hundred. A link counts as removed after
 * the first: nobody sees it, its name is free, and whatever is made next comes after it under the same lock. So the
 * message is sent off the main thread, in one of a few lanes, and meanwhile its links are looked for.
 * What is asked for while most lanes wait is gathered into a group (IFLA_GROUP) and removed by one message.
 * Invariants: a link that is gone counts as removed; links go by index, for a message may reach the kernel when its link
 * has gone another way and the name is a new link's; a deletion by group never takes the fate of another link: when the
 * kernel refuses the group as a whole, its members are removed one by one.
 * Review notes: lanes share one group: what one has marked, another may remove. A crash between marking and removing
 * leaves links in GROUP_DOOMED, which the next removal by group takes along: they were doomed.
 */
import { sleep } from '../../base/clock.ts';
import { kernelError } from '../errno.ts';
import { GROUP_DOOMED, KernelError } from '../types.ts';
import type { Links } from './links.ts';
import { MessageWriter } from './message.ts';
import { encodeGroupDelete, encodeLinkDelete, encodeLinkGroup, encodeLinkSet } from './rtnetlink/link.ts';
import { nextTurn, type Acknowledgement, type NetlinkSocket } from './socket.ts';

/** Each lane holds a thread of the pool while it waits; bin/portolan gives the pool twice as many. */
const LANES = 4;
/** With fewer idle lanes than this, deletions are gathered: all lanes become idle at the same RCU barrier. */
const LANES_FOR_CROWDS = 2;
const GATHER_MS = 4;
/** How often those under way are looked for. */
const LOOK_MS = 1;
/** The kernel holds its lock while it removes a group. */
const MAX_GROUP = 128;
/** What a link is in that cannot be removed after all: left doomed, it would spoil every later removal by group. */
const NO_GROUP = 0;
interface Lane {
  readonly socket: NetlinkSocket;
  readonly writer: MessageWriter;
}

/** One link on its way out, settled once. */
class Doomed {
  readonly name: string;
  readonly index: number;
  readonly #done: (error: KernelError | undefined) => void;
  readonly #failed: (error: unknown) => void;
  #settled = false;

  constructor(
    link: { readonly name: string; readonly index: number },
    done: (error: KernelError | undefined) => void,
    failed: (error: unknown) => void,
  ) {
    this.name = link.name;
    this.index = link.index;
    this.#done = done;
    this.#failed = failed;
  }

  get settled(): boolean {
    return this.#settled;
  }

  /** What the kernel says to its removal; that it is not there is no objection. */
  answer({ errno, detail }: Pick<Acknowledgement, 'errno' | 'detail'>): void {
    const error = errno === 0 ? undefined : kernelError(`ip link del ${this.name}`, errno, detail);
    this.#settled = true;
    this.#done(error?.code === 'ENODEV' ? undefined : error);
  }

  fail(error: unknown): void {
    this.#settled = true;
    this.#failed(error);
  }
}

const gone = { errno: 0, detail: '' };

export class LinkDeletions {
  readonly #openSocket: () => NetlinkSocket;
  readonly #links: Pick<Links, 'indexOf' | 'nameOf'>;
  readonly #lanes: Lane[] = [];
  #lock: Lane | undefined;
  readonly #idle: Lane[] = [];
  readonly #underWay = new Set<Doomed>();
  #queue: Doomed[] = [];
  #gathering = false;
  #looking = false;
  #closed = false;

  /** Sockets are opened when they are first needed, and closed by `close`. */
  constructor(components: {
    readonly openSocket: () => NetlinkSocket;
    readonly links: Pick<Links, 'indexOf' | 'nameOf'>;
  }) {
    this.#openSocket = components.openSocket;
    this.#links = components.links;
  }

  /** Resolves when the link is gone, with the kernel's objection when it does not go. */
  async delete(name: string): Promise<KernelError | undefined> {
    const index = this.#links.indexOf(name);
    if (index === undefined) return undefined;
    return new Promise((done, failed) => {
      this.#queue.push(new Doomed({ name, index }, done, failed));
      this.#start();
    });
  }

  close(): void {
    this.#closed = true;
    for (const { socket } of this.#lanes) socket.close();
    this.#lock?.socket.close();
  }

  get #idleLanes(): number {
    return this.#idle.length + LANES - this.#lanes.length;
  }

  #start(): void {
    if (this.#gathering || this.#queue.length === 0 || this.#idleLanes === 0) return;
    this.#gathering = true;
    // Others that want a link removed in this turn come along.
    void (this.#idleLanes < LANES_FOR_CROWDS ? sleep(GATHER_MS) : nextTurn()).then(() => {
      this.#gathering = false;
      void this.#run(this.#queue.splice(0, MAX_GROUP));
      this.#start();
    });
  }

  async #run(batch: readonly Doomed[]): Promise<void> {
    for (const doomed of batch) this.#underWay.add(doomed);
    let lane: Lane | undefined;
    try {
      lane = this.#takeLane();
      if (!this.#looking) void this.#look();
      if (batch.length === 1) await this.#deleteEach(lane, batch);
      else await this.#deleteGroup(lane, batch);
    } catch (error) {
      for (const doomed of batch) if (!doomed.settled) doomed.fail(error);
    }
    for (const doomed of batch) this.#underWay.delete(doomed);
    if (lane !== undefined) this.#idle.push(lane);
    this.#start();
  }

  #takeLane(): Lane {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const lane = { socket: this.#openSocket(), writer: new MessageWriter(1024) };
    this.#lanes.push(lane);
    return lane;
  }

  /** Settles what is gone already although its lane still waits. */
  async #look(): Promise<void> {
    this.#looking = true;
    while (this.#underWay.size > 0) {
      await sleep(LOOK_MS);
      if (this.#closed) break;
      const gone = [...this.#underWay].filter(({ index }) => this.#links.nameOf(index) === undefined);
      if (gone[0] === undefined || !(await this.#lockPassed(gone[0].index))) continue;
      for (const doomed of gone) if (!doomed.settled) this.#settle(doomed);
    }
    this.#looking = false;
  }

  /**
   * A link loses its name a moment before its addresses and sysctls go, all under the kernel's lock: a message that
   * takes the lock, a change that changes nothing of a link that is not there, comes after them.
   */
  async #lockPassed(index: number): Promise<boolean> {
    this.#lock ??= { socket: this.#openSocket(), writer: new MessageWriter(64) };
    const { socket, writer } = this.#lock;
    writer.reset();
    encodeLinkSet(writer, socket.nextSequence(), index, {}, {});
    try {
      await socket.exchangeAsync('wait for the removal of a link', writer);
      return true;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      // The deletion itself still answers.
      return false;
    }
  }

  #settle(doomed: Doomed): void {
    this.#underWay.delete(doomed);
    doomed.answer(gone);
  }

  async #deleteEach(lane: Lane, batch: readonly Doomed[]): Promise<void> {
    for (const doomed of batch) {
      if (doomed.settled) continue;
      lane.writer.reset();
      encodeLinkDelete(lane.writer, lane.socket.nextSequence(), doomed.index);
      const answers = await lane.socket.exchangeAsync(`ip link del ${doomed.name}`, lane.writer);
      if (!doomed.settled) doomed.answer(failureOf(answers) ?? gone);
    }
  }

  async #deleteGroup(lane: Lane, batch: readonly Doomed[]): Promise<void> {
    await this.#mark(lane, batch, GROUP_DOOMED);
    const marked = batch.filter(({ settled }) => !settled);
    if (marked.length === 0) return;
    lane.writer.reset();
    encodeGroupDelete(lane.writer, lane.socket.nextSequence(), GROUP_DOOMED);
    const answers = await lane.socket.exchangeAsync(`ip link del group ${GROUP_DOOMED}`, lane.writer);
    if (failureOf(answers) === undefined) {
      for (const doomed of marked) if (!doomed.settled) doomed.answer(gone);
      return;
    }
    // Refused: a member cannot be removed (a physical device). ENODEV: all went another way meanwhile.
    const left = marked.filter(({ settled }) => !settled);
    await this.#mark(lane, left, NO_GROUP);
    await this.#deleteEach(lane, left);
  }

  /** Puts all into the group, and settles those that cannot be. */
  async #mark(lane: Lane, batch: readonly Doomed[], group: number): Promise<void> {
    const bySequence = new Map<number, Doomed>();
    lane.writer.reset();
    for (const doomed of batch) {
      const sequence = lane.socket.nextSequence();
      bySequence.set(sequence, doomed);
      encodeLinkGroup(lane.writer, sequence, doomed.index, group);
    }
    for (const answer of await lane.socket.exchangeAsync(`ip link set group ${group}`, lane.writer)) {
      const doomed = bySequence.get(answer.sequence);
      if (answer.errno !== 0 && doomed?.settled === false) doomed.answer(answer);
    }
  }
}

function failureOf(answers: readonly Acknowledgement[]): Acknowledgement | undefined {
  return answers.find(({ errno }) => errno !== 0);
}
