/** Values on their way into a journal: JSON text, so that what is read back is what was written. */
import { assert } from '../base/assert.ts';

/** Pairs of key and JSON text; `undefined` text deletes. Throws before anything is applied when a value is no JSON. */
export function changeTexts(changes: Readonly<Record<string, unknown>>): [string, string | undefined][] {
  return Object.entries(changes).map(([key, value]) => {
    assert(value !== null, `a journal value that is not null (undefined deletes "${key}")`);
    return [key, value === undefined ? undefined : jsonText(key, value)];
  });
}

function jsonText(key: string, value: unknown): string {
  const text = JSON.stringify(value) as string | undefined;
  assert(text !== undefined, `a JSON value for "${key}"`);
  return text;
}
