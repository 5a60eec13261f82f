/** Which tables of the legacy xtables this network namespace has; reading does not load any module. */
import { readFile } from 'node:fs/promises';

/** Names as iptables-legacy knows them: `filter`, `nat`. The files exist only while the modules are loaded. */
export async function legacyTables(): Promise<readonly string[]> {
  const read = (name: string): Promise<string> => readFile(`/proc/net/${name}`, 'utf8').catch(() => '');
  const texts = await Promise.all(['ip_tables_names', 'ip6_tables_names'].map(read));
  return [...new Set(texts.join('\n').split('\n').filter(Boolean))].sort();
}
