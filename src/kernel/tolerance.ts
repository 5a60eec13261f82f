/**
 * Which refusals of the kernel are no failures: what an operation asks for is already so.
 *
 * Shared by the real kernel and the fake, so that both are idempotent in the same places.
 */
import type { ErrnoCode, KernelOperation } from './types.ts';

const tolerated: Readonly<Partial<Record<KernelOperation['do'], readonly ErrnoCode[]>>> = {
  'link-delete': ['ENODEV'],
  // The kernel answers EEXIST only for a rule that is equal in every selector (fib_rules.c, rule_exists).
  'rule-add': ['EEXIST'],
  'rule-delete': ['ENOENT', 'ESRCH'],
  'address-delete': ['EADDRNOTAVAIL', 'ENODEV'],
  'route-delete': ['ESRCH', 'ENODEV'],
  'neighbour-delete': ['ENOENT', 'ENODEV'],
  'fdb-delete': ['ENOENT', 'ENODEV'],
};

export function isTolerated(operation: KernelOperation, code: ErrnoCode): boolean {
  return tolerated[operation.do]?.includes(code) ?? false;
}
