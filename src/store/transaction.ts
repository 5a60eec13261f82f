/** The rules of a transaction, the same on every store: what is refused, what changes. */
import { PortolanError } from '../base/errors.ts';
import type { StoreChange, StoreCondition, StoreEntry, StoreOperation } from './types.ts';

export const MAX_KEY_BYTES = 512;
export const MAX_VALUE_BYTES = 4 * 1024 * 1024;
export const MAX_OPERATIONS = 100_000;

/** Throws 'invalid' for keys and values that no store takes; keys are printable ASCII, so every order agrees. */
export function checkOperations(operations: readonly StoreOperation[]): void {
  if (operations.length > MAX_OPERATIONS)
    throw new PortolanError('invalid', `Cannot write ${operations.length} keys in one transaction`, {
      remedy: `write at most ${MAX_OPERATIONS}`,
    });
  for (const operation of operations) {
    if (!/^[\x21-\x7e]+$/.test(operation.key) || operation.key.length > MAX_KEY_BYTES)
      throw new PortolanError('invalid', `Cannot store key "${operation.key.slice(0, 80)}"`, {
        field: 'key',
        remedy: `use 1 to ${MAX_KEY_BYTES} printable ASCII characters without spaces`,
      });
    if (operation.do === 'put' && Buffer.byteLength(operation.value) > MAX_VALUE_BYTES)
      throw new PortolanError('invalid', `Cannot store the value of "${operation.key}": it is too large`, {
        field: operation.key,
        remedy: `keep it within ${MAX_VALUE_BYTES} bytes`,
      });
  }
}

export function conditionsHold(
  conditions: readonly StoreCondition[],
  find: (key: string) => StoreEntry | undefined,
): boolean {
  return conditions.every(({ key, revision }) => (find(key)?.revision ?? 0) === revision);
}

/** The changes `operations` make, the last one to a key winning; deleting what is not there changes nothing. */
export function changesOf(
  operations: readonly StoreOperation[],
  revision: number,
  exists: (key: string) => boolean,
): readonly StoreChange[] {
  const last = new Map(operations.map((operation) => [operation.key, operation]));
  return [...last.values()].flatMap((operation): StoreChange[] => {
    const { key } = operation;
    if (operation.do === 'put') return [{ key, value: operation.value, revision }];
    return exists(key) ? [{ key, value: undefined, revision }] : [];
  });
}
