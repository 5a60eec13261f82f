/**
 * Single links through one socket, each call done when it returns: look-up, creation, change, move.
 *
 * Removal is not here: its call waits for RCU and has a module of its own (deletions.ts).
 */
import { closeSync } from 'node:fs';
import { isPortolanError } from '../../base/errors.ts';
import { describeOperation } from '../describe.ts';
import { kernelError, kernelErrorOf } from '../errno.ts';
import { openNamespaceFd } from '../netns.ts';
import { isErrno, type KernelError, type KernelOperation, type LinkSettings } from '../types.ts';
import { MessageWriter } from './message.ts';
import {
  encodeAltName,
  encodeHairpin,
  encodeLinkAdd,
  encodeLinkGet,
  encodeLinkMove,
  encodeLinkSet,
  hasLinkChange,
  LinkDecoder,
  linkIndexOf,
  type DecodedLink,
  type LinkReferences,
} from './rtnetlink/link.ts';
import type { Acknowledgement, NetlinkSocket } from './socket.ts';

/** include/uapi/linux/if.h: bytes of a name with its terminating zero. */
const IFNAMSIZ = 16;

export type LinkAdd = Extract<KernelOperation, { do: 'link-add' }>;
export type LinkOperation = Extract<KernelOperation, { do: 'link-add' | 'link-set' | 'link-move' }>;

export class Links {
  readonly #socketNow: () => NetlinkSocket;
  readonly #writer = new MessageWriter(1024);
  #decoder: LinkDecoder | undefined;

  /** `socket` must give one that nobody uses asynchronously. */
  constructor(components: { readonly socket: () => NetlinkSocket }) {
    this.#socketNow = components.socket;
  }

  /** One link by name (an alternative name serves too) or index. */
  get(which: string | number): DecodedLink | undefined {
    let link: DecodedLink | undefined;
    const decoder = (this.#decoder ??= new LinkDecoder());
    this.#get(which, (buffer, message) => {
      link = decoder.decode(buffer, message);
    });
    return link;
  }

  /** Index of a link, `undefined` when there is none of that name. */
  indexOf(name: string): number | undefined {
    if (Buffer.byteLength(name) < IFNAMSIZ) {
      const index = this.#socket.interfaceIndex(name);
      return index > 0 ? index : undefined;
    }
    return this.#indexOfLongName(name);
  }

  /** Alternative names may be longer than the older interface takes. */
  #indexOfLongName(name: string): number | undefined {
    let index: number | undefined;
    this.#get(name, (buffer, message) => {
      index = linkIndexOf(buffer, message);
    });
    return index;
  }

  nameOf(index: number): string | undefined {
    return this.#socket.interfaceName(index);
  }

  /** Performs one operation; answers what the kernel had against it. */
  perform(operation: LinkOperation): KernelError | undefined {
    try {
      return this.#performOrThrow(operation);
    } catch (error) {
      return refusalOf(operation, error);
    }
  }

  #performOrThrow(operation: LinkOperation): KernelError | undefined {
    if (operation.do === 'link-add') return this.#add(operation);
    const index = this.indexOf(operation.name);
    if (index === undefined) return kernelErrorOf(describeOperation(operation), 'ENODEV');
    return operation.do === 'link-set'
      ? this.#set(operation, index, operation.settings)
      : this.#move(operation, index);
  }

  /** Makes one as `perform` does, while another thread waits for the kernel; `lane` is for that alone. */
  async make(operation: LinkAdd, lane: NetlinkSocket): Promise<KernelError | undefined> {
    const writer = new MessageWriter(256);
    const send = async (): Promise<KernelError | undefined> =>
      failureIn(operation, await lane.exchangeAsync(operation.do, writer));
    try {
      return (
        (await this.#makeOnly(operation, writer, lane, send)) ??
        (await this.#finishIn(operation, writer, lane, send))
      );
    } catch (error) {
      return refusalOf(operation, error);
    }
  }

  async #makeOnly(
    operation: LinkAdd,
    writer: MessageWriter,
    lane: NetlinkSocket,
    send: () => Promise<KernelError | undefined>,
  ): Promise<KernelError | undefined> {
    const namespaceFd = openPeerNamespace(operation);
    try {
      return this.#encodeAdd(writer, lane, operation, namespaceFd) ?? (await send());
    } finally {
      if (namespaceFd !== undefined) closeSync(namespaceFd);
    }
  }

  async #finishIn(
    operation: LinkAdd,
    writer: MessageWriter,
    lane: NetlinkSocket,
    send: () => Promise<KernelError | undefined>,
  ): Promise<KernelError | undefined> {
    const rest = lateSettings(operation);
    const index = this.indexOf(operation.name);
    if (index === undefined) return kernelErrorOf(describeOperation(operation), 'ENODEV');
    writer.reset();
    encodeSet(writer, lane, index, rest, { masterIndex: 0 });
    const failure = writer.length === 0 ? undefined : await send();
    return failure ?? this.#addAltName(operation, index, rest.addAltName);
  }

  /** The creation first and alone: were it refused because the name is taken, the rest would hit another's link. */
  #add(operation: LinkAdd): KernelError | undefined {
    const namespaceFd = openPeerNamespace(operation);
    try {
      this.#writer.reset();
      const refusal =
        this.#encodeAdd(this.#writer, this.#socket, operation, namespaceFd) ?? this.#send(operation);
      if (refusal !== undefined) return refusal;
    } finally {
      if (namespaceFd !== undefined) closeSync(namespaceFd);
    }
    return this.#finish(operation);
  }

  #encodeAdd(
    writer: MessageWriter,
    socket: NetlinkSocket,
    operation: LinkAdd,
    namespaceFd: number | undefined,
  ): KernelError | undefined {
    const { name, link, settings } = operation;
    const references = this.#references(settings, namespaceFd);
    if (references === undefined) return kernelErrorOf(describeOperation(operation), 'ENODEV');
    encodeLinkAdd(writer, socket.nextSequence(), name, link, settings, references);
    return undefined;
  }

  #finish(operation: LinkAdd): KernelError | undefined {
    const rest = lateSettings(operation);
    if (Object.keys(rest).length === 0) return undefined;
    const index = this.indexOf(operation.name);
    if (index === undefined) return kernelErrorOf(describeOperation(operation), 'ENODEV');
    return this.#set(operation, index, rest);
  }

  #set(operation: LinkOperation, index: number, settings: LinkSettings): KernelError | undefined {
    const references = this.#references(settings, undefined);
    if (references === undefined) return kernelErrorOf(describeOperation(operation), 'ENODEV');
    const writer = this.#writer;
    writer.reset();
    encodeSet(writer, this.#socket, index, settings, references);
    const failure = writer.length === 0 ? undefined : this.#send(operation);
    return failure ?? this.#addAltName(operation, index, settings.addAltName);
  }

  /** Adding a name that the link already has is no failure. */
  #addAltName(operation: LinkOperation, index: number, altName: string | undefined): KernelError | undefined {
    if (altName === undefined) return undefined;
    this.#writer.reset();
    encodeAltName(this.#writer, this.#socket.nextSequence(), index, altName);
    const failure = this.#send(operation);
    const held = isErrno(failure, 'EEXIST') && this.get(index)?.altNames.includes(altName) === true;
    return held ? undefined : failure;
  }

  #move(operation: Extract<LinkOperation, { do: 'link-move' }>, index: number): KernelError | undefined {
    const fd = openNamespaceFd(operation.namespacePath);
    try {
      this.#writer.reset();
      encodeLinkMove(this.#writer, this.#socket.nextSequence(), index, fd);
      return this.#send(operation);
    } finally {
      closeSync(fd);
    }
  }

  /** `undefined` when the master does not exist. */
  #references(settings: LinkSettings, namespaceFd: number | undefined): LinkReferences | undefined {
    const { master } = settings;
    const masterIndex = typeof master === 'string' ? this.indexOf(master) : 0;
    if (masterIndex === undefined) return undefined;
    return { masterIndex, ...(namespaceFd === undefined ? {} : { namespaceFd }) };
  }

  get #socket(): NetlinkSocket {
    return this.#socketNow();
  }

  #send(operation: LinkOperation): KernelError | undefined {
    return failureIn(operation, this.#socket.exchange(operation.do, this.#writer));
  }

  #get(which: string | number, visit: Parameters<NetlinkSocket['exchange']>[2]): void {
    this.#writer.reset();
    encodeLinkGet(this.#writer, this.#socket.nextSequence(), which);
    const what = typeof which === 'string' ? `ip link show ${which}` : `ip link show index ${which}`;
    const failure = this.#socket.exchange(what, this.#writer, visit).find(({ errno }) => errno !== 0);
    if (failure === undefined) return;
    const error = kernelError(what, failure.errno, failure.detail);
    // ERANGE and EINVAL: a name that no link can have.
    if (!isErrno(error, 'ENODEV') && !isErrno(error, 'ERANGE') && !isErrno(error, 'EINVAL')) throw error;
  }
}

/** What a creation cannot carry. */
function lateSettings({ settings }: LinkAdd): LinkSettings {
  const { alias, addAltName, hairpin, rename, ipv6LinkLocal } = settings;
  return {
    ...(alias === undefined ? {} : { alias }),
    ...(ipv6LinkLocal === undefined ? {} : { ipv6LinkLocal }),
    ...(addAltName === undefined ? {} : { addAltName }),
    ...(hairpin === undefined ? {} : { hairpin }),
    ...(rename === undefined ? {} : { rename }),
  };
}

/** Nothing when there is nothing to set. */
function encodeSet(
  writer: MessageWriter,
  socket: NetlinkSocket,
  index: number,
  settings: LinkSettings,
  references: LinkReferences,
): void {
  if (hasLinkChange(settings)) encodeLinkSet(writer, socket.nextSequence(), index, settings, references);
  if (settings.hairpin !== undefined) encodeHairpin(writer, socket.nextSequence(), index, settings.hairpin);
}

/** Of a veth whose other end is to be born elsewhere; the caller closes it. */
function openPeerNamespace({ link }: LinkAdd): number | undefined {
  const path = link.kind === 'veth' ? link.peer.namespacePath : undefined;
  return path === undefined ? undefined : openNamespaceFd(path);
}

/** What the kernel had against it. */
function failureIn(operation: LinkOperation, answers: readonly Acknowledgement[]): KernelError | undefined {
  const failure = answers.find(({ errno }) => errno !== 0);
  return failure === undefined
    ? undefined
    : kernelError(describeOperation(operation), failure.errno, failure.detail);
}

/** What we had against it ourselves. */
function refusalOf(operation: LinkOperation, error: unknown): KernelError {
  if (!isPortolanError(error)) throw error;
  const code = error.code === 'not-found' ? 'ENOENT' : 'EINVAL';
  return kernelErrorOf(`${describeOperation(operation)}: ${error.message}`, code);
}
