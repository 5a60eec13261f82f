/**
 * Removing links without holding anybody up.
 *
 * The kernel waits about 20 ms (an RCU barrier) per RTM_DELLINK, whether it removes one link or a hundred. So the
 * message is sent off the main thread, one at a time; all links that were asked for meanwhile are put into one group
 * (IFLA_GROUP) and removed by one message.
 * Invariants: a link that is gone counts as removed; a deletion by group never takes the fate of another link: when
 * the kernel refuses the group as a whole, its members are removed one by one.
 * Review notes: a crash between the two steps leaves links in GROUP_DOOMED, which the next removal by group takes
 * along: they were doomed.
 */
import { sleep } from '../../base/clock.ts';
import { kernelError } from '../errno.ts';
import { GROUP_DOOMED, type KernelError } from '../types.ts';
import { MessageWriter } from './message.ts';
import { encodeGroupDelete, encodeLinkDelete, encodeLinkGroup } from './rtnetlink/link.ts';
import { nextTurn, type Acknowledgement, type NetlinkSocket } from './socket.ts';

interface Doomed {
  readonly name: string;
  readonly done: (error: KernelError | undefined) => void;
  readonly failed: (error: unknown) => void;
}

/** What a link is in that cannot be removed after all: left doomed, it would spoil every later removal by group. */
const NO_GROUP = 0;
/** While links go in a crowd: those that wait for the end of one removal ask for the next within this. */
const CROWD_GATHER_MS = 4;
/** Groups are marked with one send, which must stay short. */
const MAX_GROUP = 128;

export class LinkDeletions {
  readonly #socket: NetlinkSocket;
  readonly #writer = new MessageWriter(1024);
  #queue: Doomed[] = [];
  #running = false;
  /** The last removal took several. */
  #crowd = false;

  /** `socket` is for this alone. */
  constructor(components: { readonly socket: NetlinkSocket }) {
    this.#socket = components.socket;
  }

  /** Resolves when the link is gone, with the kernel's objection when it does not go. */
  delete(name: string): Promise<KernelError | undefined> {
    return new Promise((done, failed) => {
      this.#queue.push({ name, done, failed });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Others that want a link removed in this turn share the wait.
    await (this.#crowd ? sleep(CROWD_GATHER_MS) : nextTurn());
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, MAX_GROUP);
      this.#crowd = batch.length > 1;
      try {
        if (batch.length === 1) await this.#deleteEach(batch);
        else await this.#deleteGroup(batch);
      } catch (error) {
        for (const doomed of batch) doomed.failed(error);
      }
      if (this.#crowd) await sleep(CROWD_GATHER_MS);
    }
    this.#running = false;
  }

  async #deleteEach(batch: readonly Doomed[]): Promise<void> {
    for (const doomed of batch) {
      const what = `ip link del ${doomed.name}`;
      this.#writer.reset();
      encodeLinkDelete(this.#writer, this.#socket.nextSequence(), doomed.name);
      const failure = failureOf(await this.#socket.exchangeAsync(what, this.#writer));
      const error = failure === undefined ? undefined : kernelError(what, failure.errno, failure.detail);
      doomed.done(error?.code === 'ENODEV' ? undefined : error);
    }
  }

  async #deleteGroup(batch: readonly Doomed[]): Promise<void> {
    const gathered = await this.#gather(batch);
    if (gathered.length === 0) return;
    const what = `ip link del group ${GROUP_DOOMED}`;
    this.#writer.reset();
    encodeGroupDelete(this.#writer, this.#socket.nextSequence(), GROUP_DOOMED);
    const failure = failureOf(await this.#socket.exchangeAsync(what, this.#writer));
    // Refused: a member cannot be removed (a physical device). ENODEV: all went another way meanwhile.
    if (failure !== undefined) {
      await this.#markAll(gathered, NO_GROUP);
      return this.#deleteEach(gathered);
    }
    for (const doomed of gathered) doomed.done(undefined);
  }

  /** Puts all into the group; answers those that are in it, having settled those that are gone. */
  async #gather(batch: readonly Doomed[]): Promise<readonly Doomed[]> {
    const gathered: Doomed[] = [];
    for (const { doomed, errno, detail } of await this.#markAll(batch, GROUP_DOOMED)) {
      if (errno === 0) gathered.push(doomed);
      else {
        const error = kernelError(`ip link del ${doomed.name}`, errno, detail);
        doomed.done(error.code === 'ENODEV' ? undefined : error);
      }
    }
    return gathered;
  }

  async #markAll(
    batch: readonly Doomed[],
    group: number,
  ): Promise<readonly (Acknowledgement & { readonly doomed: Doomed })[]> {
    const bySequence = new Map<number, Doomed>();
    this.#writer.reset();
    for (const doomed of batch) {
      const sequence = this.#socket.nextSequence();
      bySequence.set(sequence, doomed);
      encodeLinkGroup(this.#writer, sequence, doomed.name, group);
    }
    const answers = await this.#socket.exchangeAsync(`ip link set group ${group}`, this.#writer);
    return answers.flatMap((answer) => {
      const doomed = bySequence.get(answer.sequence);
      return doomed === undefined ? [] : [{ ...answer, doomed }];
    });
  }
}

function failureOf(answers: readonly Acknowledgement[]): Acknowledgement | undefined {
  return answers.find(({ errno }) => errno !== 0);
}
