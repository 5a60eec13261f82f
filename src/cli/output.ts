/** What listings share: the `-o` option, and nodes in a table. */
import { Option } from 'commander';

export function outputOption(): Option {
  return new Option('-o, --output <format>', 'how to print')
    .choices(['table', 'json', 'yaml'])
    .default('table');
}

/** Overlays in one cell: `dcos 9.0.0.0/24, dcos6 fd01:b::/80`. */
export function withFlatOverlays<T extends { readonly overlays: Readonly<Record<string, string>> }>(
  node: T,
): Omit<T, 'overlays'> & { readonly overlays: readonly string[] } {
  const overlays = Object.entries(node.overlays);
  return { ...node, overlays: overlays.map(([name, block]) => `${name} ${block}`.trim()) };
}
