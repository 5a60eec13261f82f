/** A journal without a file: for tests and simulation. Give `disk` to open the same content again. */
import { changeTexts } from './journal-text.ts';
import type { Journal } from './types.ts';

export function memoryJournal(disk = new Map<string, string>()): Journal {
  const apply = (changes: Readonly<Record<string, unknown>>): void => {
    for (const [key, text] of changeTexts(changes))
      if (text === undefined) disk.delete(key);
      else disk.set(key, text);
  };
  return {
    get: (key) => {
      const text = disk.get(key);
      return text === undefined ? undefined : JSON.parse(text);
    },
    entries: (prefix) =>
      Array.from(disk)
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, text]) => [key, JSON.parse(text) as unknown] as const),
    write: (changes) => {
      apply(changes);
      return Promise.resolve();
    },
    writeLazily: apply,
    close: () => Promise.resolve(),
  };
}
