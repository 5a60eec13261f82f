/**
 * Assertions that stay on in production.
 *
 * They state what must be and what must not; a failed one is a bug in this program, never bad input.
 */

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Throws when `condition` does not hold; `message` says what was expected. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(`Broken invariant: ${message}`);
}

/** Ends an exhaustive `switch`: the compiler proves that no case is missing. */
export function unreachable(value: never): never {
  throw new AssertionError(`Broken invariant: unexpected value ${JSON.stringify(value)}`);
}
