/** The packet filter of a container's own network namespace: what its processes, or those who made it, have set up there. */
import type { TraceLeg } from '../model/trace.ts';
import { passHook, type Passage } from './filter/hooks.ts';
import type { HostState, LocalContainer } from './state.ts';
import type { Way } from './way.ts';

/** Answers where the way ends. Containers that cannot be looked into let everything pass. */
export function passInside(
  state: HostState,
  way: Way,
  { name, inside }: LocalContainer,
  passages: readonly Omit<Passage, 'within'>[],
): TraceLeg | undefined {
  if (inside?.filters === undefined) return undefined;
  const { links, addresses, routes, rules, filters } = inside;
  const own: HostState = { ...state, links, addresses, routes, rules: rules ?? [], filters };
  const { translated, mark } = way;
  for (const passage of passages) {
    const stopped = passHook(own, way, { ...passage, within: name });
    if (stopped !== undefined) return stopped;
  }
  // Another namespace knows nothing of this one's connections and marks.
  way.translated = translated;
  way.mark = mark;
  return undefined;
}
