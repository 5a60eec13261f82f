/** Which tables of the legacy xtables this network namespace has; reading does not load any module. */
import { readFile } from 'node:fs/promises';

/** Names as iptables-legacy knows them: `filter`, `nat`. The files exist only while the modules are loaded. */
export async function legacyTables(): Promise<readonly string[]> {
  const names = await Promise.all([legacyTablesOf('ip'), legacyTablesOf('ip6')]);
  return [...new Set(names.flat())].sort();
}

/** Those that `iptables-legacy`, or `ip6tables-legacy`, would list. */
export async function legacyTablesOf(family: 'ip' | 'ip6'): Promise<readonly string[]> {
  const text = await readFile(`/proc/net/${family}_tables_names`, 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean);
}
