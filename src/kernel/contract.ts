/**
 * What every `Kernel` must do, real or fake: one list of cases, each on a namespace of its own.
 *
 * `open` gives a kernel with nothing in it but `lo`, and two further namespaces by path.
 */
import { afterEach, beforeEach, describe, expect } from 'vitest';
import { assert } from '../base/assert.ts';
import { linkCases } from './links-contract.ts';
import { monitorCases } from './monitor-contract.ts';
import { objectCases } from './objects-contract.ts';
import { routeCases } from './routes-contract.ts';
import type { Case, OpenKernel } from './samples-contract.ts';

export function kernelContract(name: string, open: () => Promise<OpenKernel> | OpenKernel): void {
  describe(name, () => {
    let current: Case | undefined;
    const given = (): Case => {
      assert(current !== undefined, 'a case that has begun');
      return current;
    };

    beforeEach(async () => {
      const opened = await open();
      const { kernel } = opened;
      current = {
        kernel,
        opened,
        done: async (...operations) => {
          const failures = await kernel.apply(operations);
          expect(failures.map(({ error }) => error.message)).toEqual([]);
        },
        refusal: async (operation) => (await kernel.apply([operation]))[0]?.error.code,
      };
    });
    afterEach(() => given().opened.close());

    linkCases(given);
    objectCases(given);
    routeCases(given);
    monitorCases(given);
  });
}
