/** What a definition is refused for. */
import { defineApp } from '../../src/apps/definition.ts';
import { parseInput, Refused, type Issue } from '../../src/apps/issues.ts';
import { appInput } from '../../src/apps/schema.ts';

export const definitionInit = {
  names: { defaultNetwork: 'dcos', bridge: 'mesos-bridge' },
  version: '2026-01-02T03:04:05.678Z',
};

export function refusalOf(
  json: unknown,
  init: object = {},
): { readonly kind: string; readonly issues: readonly Issue[] } {
  try {
    defineApp(parseInput(appInput, json), { ...definitionInit, ...init });
  } catch (error) {
    if (error instanceof Refused) return { kind: error.kind, issues: error.issues };
    throw error;
  }
  return { kind: 'accepted', issues: [] };
}

/** Of a table of rules: what, a definition that breaks it, where, and the message. */
export type Rule = readonly [name: string, definition: object, path: string, message: string];
