/**
 * Names in three forms: text (`web.marathon.mesos`, lower case, without the last dot), labels, and keys.
 *
 * A key is the name as it goes over the wire, lower-cased, one character per byte: what tables are asked by, because
 * it is cut out of a packet without decoding it. Text is for names that we make; labels of a query may hold any byte.
 */
import { LABEL_BYTES_MAX, NAME_BYTES_MAX } from './constants.ts';

/** The key of the root. */
export const ROOT_KEY = '\0';

/** The key of a text name; `undefined` when it is no name: an empty or too long label, too long altogether. */
export function nameKey(text: string): string | undefined {
  const bare = text.endsWith('.') ? text.slice(0, -1) : text;
  if (bare === '') return ROOT_KEY;
  return labelsKey(bare.split('.'));
}

/** Characters that are no byte. */
const NOT_BYTES = /[\u0100-\uffff]/;

export function labelsKey(labels: readonly string[]): string | undefined {
  let key = '';
  for (const label of labels) {
    if (label.length === 0 || label.length > LABEL_BYTES_MAX || NOT_BYTES.test(label)) return undefined;
    key += String.fromCharCode(label.length) + label.toLowerCase();
  }
  return key.length + 1 > NAME_BYTES_MAX ? undefined : key + ROOT_KEY;
}

/** The labels of a key, the most specific first. */
export function keyLabels(key: string): readonly string[] {
  const labels: string[] = [];
  for (let at = 0; at < key.length;) {
    const length = key.charCodeAt(at);
    if (length === 0) break;
    labels.push(key.slice(at + 1, at + 1 + length));
    at += length + 1;
  }
  return labels;
}

/** A key for people. What is not printable is written as in zone files (RFC 1035, 5.1): `\004`. */
export function keyText(key: string): string {
  return keyLabels(key).map(printable).join('.');
}

function printable(label: string): string {
  return label.replaceAll(/[^!-~]|[.\\]/g, (char) =>
    char === '.' || char === '\\' ? `\\${char}` : `\\${String(char.charCodeAt(0)).padStart(3, '0')}`,
  );
}

/** The key one label shorter; `undefined` for the root. */
export function parentKey(key: string): string | undefined {
  const length = key.charCodeAt(0);
  return length === 0 ? undefined : key.slice(length + 1);
}

/** Where the labels of a key begin, the most specific first, the root last. */
export function suffixOffsets(key: string): readonly number[] {
  const offsets: number[] = [];
  for (let at = 0; at < key.length; at += key.charCodeAt(at) + 1) offsets.push(at);
  return offsets;
}

/** A key as bytes of the wire. */
export function keyBytes(key: string): Buffer {
  return Buffer.from(key, 'latin1');
}
