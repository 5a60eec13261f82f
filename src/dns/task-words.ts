/**
 * By which words a task is found that has a name.
 *
 * Purpose: a task has a dozen names and more in five zones, of which hardly any is ever asked for. It is filed under a few
 * words, `<name>.<framework>` as a key, the hash of its id and its addresses, and every name says under which words it may be.
 * Invariants: of every record that a task has, the name leads to a word that the task is filed under (a test holds it);
 * reading a name costs what its length costs, whoever made it up.
 */
import { parseIp, type Family } from '../base/ip.ts';
import type { ViewedTask } from '../model/task-view.ts';
import { canonicalHash, taskHash } from './canonical.ts';
import { NAME_BYTES_MAX } from './constants.ts';
import { keyLabels, labelsKey, nameKey, parentKey, ROOT_KEY } from './name.ts';
import { addressOfReverse, reverseName } from './reverse.ts';
import { containerAddresses, servicePort, type TaskTitle } from './task-names.ts';
import { DCOS, MESOS } from './zones.ts';

const keyOf = (name: string): string => nameKey(name) ?? ROOT_KEY;
const DCOS_KEY = keyOf(DCOS);
const ADDRESS_ZONES = ['agentip', 'containerip', 'autoip'].map((zone) => keyOf(`${zone}.${DCOS}`));
const MESOS_KEY = keyOf(MESOS);
const SLAVE = `slave.${MESOS}`;
const SLAVE_KEY = keyOf(SLAVE);
const ARPA_KEY = keyOf('arpa');

/**
 * The words that a task is filed under, each once. Its canonical name is the only one with its id's hash, which alone is
 * the word for it: short, where names are long.
 */
export function taskWords(viewed: ViewedTask, { name, framework, raw }: TaskTitle): readonly string[] {
  const { task } = viewed;
  const end = nameKey(framework);
  if (end === undefined) return addressWords(viewed);
  const names = raw === undefined ? [joined(name, end)] : [joined(name, end), joined(raw, end)];
  const words = [...names, taskHash(task.id), ...addressWords(viewed)];
  return words.filter((each, at): each is string => each !== undefined && words.indexOf(each) === at);
}

function addressWords({ task }: ViewedTask): readonly string[] {
  return containerAddresses(task).map((text) => (text.includes(':') ? String(parseIp(text) ?? text) : text));
}

/** A name of one label or several before a key. */
function joined(name: string, end: string): string | undefined {
  const key = name.includes('.')
    ? labelsKey([...name.split('.'), ...keyLabels(end)])
    : String.fromCharCode(name.length) + name + end;
  return key === undefined || key.length > NAME_BYTES_MAX ? undefined : key;
}

/** Of a word that is an address. */
export function familyOf(word: string): Family | undefined {
  if (word.endsWith(ROOT_KEY)) return undefined;
  return word.includes('.') ? 4 : word.includes(':') ? 6 : undefined;
}

/** What a task's names have above them, of which there are no records, but which exists (RFC 8020). */
export interface NamesAbove {
  /** In every zone: the framework, and what is above it but the root. */
  readonly everywhere: readonly string[];
  /** Whole keys: what is between a service, or a name of several labels, and the framework. */
  readonly inMesos: readonly string[];
}

export function namesAbove({ task }: ViewedTask, { name, framework, raw }: TaskTitle): NamesAbove {
  const everywhere = nameKey(`${name}.${framework}`);
  const inMesos = new Set<string>();
  const add = (start: string, zone: string): void => {
    const key = nameKey(`${start}.${framework}.${zone}`);
    if (key === undefined) return;
    for (const above of keysBetween(key, keyOf(`${framework}.${zone}`))) inMesos.add(above);
  };
  const names = raw === undefined ? [name] : [name, raw];
  if (raw !== undefined) for (const zone of [MESOS, SLAVE]) add(raw, zone);
  for (const port of task.ports)
    for (const each of names) {
      const service = `_${each}._${port.protocol}`;
      if (servicePort(task, port) !== undefined) add(service, MESOS);
      if (port.host_port !== undefined) add(service, SLAVE);
    }
  return {
    everywhere: everywhere === undefined ? [] : keysBetween(everywhere, ROOT_KEY),
    inMesos: Array.from(inMesos),
  };
}

function keysBetween(key: string, end: string): readonly string[] {
  const above = parentKey(key);
  return above === undefined || above === end ? [] : [above, ...keysBetween(above, end)];
}

/** Where tasks may have a name. */
export interface Place {
  /** The name as text, as records have it. */
  readonly text: string;
  /** What of it is before each zone that it is in, as a key. */
  readonly inZones: readonly string[];
  /** The words that its tasks are filed under. */
  readonly words: readonly string[];
  /** It is the name of a network, of addresses of this family. */
  readonly network?: Family;
}

/** `undefined` for a name that no task can have. */
export function placeOf(key: string): Place | undefined {
  const found = wordsOf(key);
  if (found === undefined) return undefined;
  const text = keyLabels(key).join('.');
  // A label of a query may hold any byte, a dot as well.
  return nameKey(text) === key ? { text, ...found } : undefined;
}

function wordsOf(key: string): Omit<Place, 'text'> | undefined {
  if (key.endsWith(DCOS_KEY)) {
    const inZones = ADDRESS_ZONES.flatMap((zone) => before(key, zone));
    return { inZones, words: inZones };
  }
  if (key.endsWith(MESOS_KEY)) {
    const inZones = [MESOS_KEY, SLAVE_KEY].flatMap((zone) => before(key, zone));
    return { inZones, words: Array.from(new Set(inZones.flatMap(mesosWords))) };
  }
  if (!key.endsWith(ARPA_KEY)) return undefined;
  const labels = keyLabels(key);
  const address = addressOfReverse(labels);
  if (address === undefined) return undefined;
  return labels.join('.') === reverseName(address)
    ? { inZones: [], words: [String(address)] }
    : { inZones: [], words: [], network: address.family };
}

function before(key: string, zone: string): readonly string[] {
  return key.endsWith(zone) ? [key.slice(0, key.length - zone.length) + ROOT_KEY] : [];
}

function mesosWords(key: string): readonly string[] {
  const first = key.slice(1, 1 + key.charCodeAt(0));
  if (first.startsWith('_')) return [key, ...serviceWords(keyLabels(key))];
  const hash = canonicalHash(first);
  return hash === undefined ? [key] : [key, hash];
}

/** `_<task>._<protocol>.<framework>` and `_<port>._<task>._<protocol>.<framework>`; a framework has no `_`. */
function serviceWords(labels: readonly string[]): readonly string[] {
  const at = labels.findLastIndex((each) => each.startsWith('_'));
  const starts = [0, ...(labels[1]?.startsWith('_') === true ? [1] : [])].filter((start) => start < at);
  return starts.flatMap((start) => {
    const [first = '', ...more] = labels.slice(start, at);
    return labelsKey([first.slice(1), ...more, ...labels.slice(at + 1)]) ?? [];
  });
}
