/**
 * What compilations remember of one another: that which has not changed is the very same objects again, so that two
 * desired states are compared by asking which objects are others.
 */
import type { CompileInput, DesiredState } from './desired.ts';
import type { Local } from './grant.ts';
import { RecordParser } from './record-parser.ts';
import { RemoteMemory } from './remotes.ts';
import { SLICE } from './slice.ts';

/** All of a desired state that does not come from other nodes' blocks. */
export interface HostObjects extends Pick<
  DesiredState,
  'sysctls' | 'links' | 'ports' | 'addresses' | 'routes' | 'rules' | 'table' | 'overlays' | 'faults'
> {
  readonly local: Local;
}

interface Remembered {
  readonly input: CompileInput;
  readonly spaces: string;
  readonly objects: HostObjects;
}

export class CompileMemory {
  readonly parser = new RecordParser();
  readonly remotes = new RemoteMemory();
  #host: Remembered | undefined;

  /** As made the last time while nothing that they are made of has changed; in slices. */
  *host(input: CompileInput, make: () => HostObjects): Generator<undefined, HostObjects> {
    const spaces = yield* toldSpaces(input);
    const known = this.#host;
    if (known !== undefined && known.spaces === spaces && isSameHost(known.input, input))
      return known.objects;
    const objects = make();
    this.#host = { input, spaces, objects };
    return objects;
  }
}

function isSameHost(a: CompileInput, b: CompileInput): boolean {
  return (
    a.grant?.epoch === b.grant?.epoch &&
    a.underlay === b.underlay &&
    a.network === b.network &&
    a.localBridge === b.localBridge &&
    a.dns === b.dns &&
    areSame(a.grant?.overlays ?? [], b.grant?.overlays ?? []) &&
    areSame(a.attachments, b.attachments) &&
    areSame(a.vips.map(String), b.vips.map(String))
  );
}

function areSame<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((each, at) => each === b[at]);
}

/** The overlays' spaces as other nodes tell them, in the order in which they are first told. */
function* toldSpaces({ records, removed }: CompileInput): Generator<undefined, string> {
  const told = new Set<string>();
  /** The record before it of the same overlay, which mostly says the same: no text is made to find that out. */
  const last = new Map<string, CompileInput['records'][number]['record']>();
  let count = 0;
  for (const { node, record } of records) {
    if (++count % SLICE === 0) yield;
    if (removed.has(node)) continue;
    const before = last.get(record.overlay);
    if (before !== undefined && before.space === record.space && before.space6 === record.space6) continue;
    last.set(record.overlay, record);
    told.add(`${record.overlay} ${record.space ?? ''} ${record.space6 ?? ''}`);
  }
  return Array.from(told).join('\n');
}
