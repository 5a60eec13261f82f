/** Lists compared element by element. */

/** Two lists that are missing are the same; one that is missing and an empty one are not. */
export function isSameList<T>(
  a: readonly T[] | undefined,
  b: readonly T[] | undefined,
  isSame: (a: T, b: T) => boolean,
): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((each, i) => isSame(each, b[i] as T));
}
