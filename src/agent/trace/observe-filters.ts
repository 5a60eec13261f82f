/**
 * Reads other people's rules: nftables' tables, and those of the older xtables where there are any.
 *
 * Each table is listed by itself, as ours have many elements that nobody here asks for.
 */
import { readFileSync } from 'node:fs';
import { isPortolanError, PortolanError } from '../../base/errors.ts';
import { z } from 'zod';
import type { NamespaceHandle } from '../../kernel/netns.ts';
import type { Nft, NftTableRef } from '../../kernel/nft/types.ts';
import { isErrno } from '../../kernel/types.ts';
import { TABLE_REF } from '../../overlay/ruleset.ts';
import { runCommand } from '../../runtime/command.ts';
import { legacyTablesOf } from '../../runtime/legacy-tables.ts';
import { parseFilters, type SavedText } from '../../trace/filter/listing.ts';
import type { Filters } from '../../trace/filter/rules.ts';
import { VIP_TABLE } from '../../vip/ruleset.ts';

const FAMILIES = ['ip', 'ip6'] as const;
const programs = { ip: 'iptables', ip6: 'ip6tables' } as const;
const TIMEOUT_MS = 5000;
/** Root's PATH lacks the sbin directories under some supervisors. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;

const table = z.object({ family: z.string(), name: z.string() });
const tables = z.object({ nftables: z.array(z.object({ table: table.optional() })) });

export interface FilterSources {
  /** Runs a program; its output, or `undefined` when that cannot be had. */
  save(program: string): Promise<string | undefined>;
  legacyTablesOf(family: 'ip' | 'ip6'): Promise<readonly string[]>;
}

const realSources: FilterSources = { save, legacyTablesOf };

export async function readFilters(
  nft: Pick<Nft, 'list'>,
  sources: FilterSources = realSources,
): Promise<Filters> {
  const [native, legacy] = await Promise.all([readTables(nft), readLegacy(sources)]);
  const saved = await Promise.all(
    FAMILIES.filter((family) => native.extended.has(family)).map((family) =>
      readSaved(sources, family, `${programs[family]}-nft-save`),
    ),
  );
  return parseFilters({
    tables: native.tables,
    // Without it their extensions are what cannot be evaluated.
    saved: saved.filter((each) => each !== undefined),
    legacy: legacy.texts,
    unreadable: [...native.unreadable, ...legacy.unreadable],
  });
}

/** The same of another network namespace, by programs of the host that are run in it. */
export async function readFiltersInside(path: string, handle: NamespaceHandle): Promise<Filters> {
  const enter = ['nsenter', `--net=${path}`];
  return readFilters(
    { list: (args) => listInside(enter, args) },
    {
      save: (program) => save(...enter, program),
      legacyTablesOf: (family) => Promise.resolve(handle.within(() => legacyNames(family))),
    },
  );
}

async function listInside(enter: readonly string[], args: readonly string[]): Promise<unknown> {
  const text = await save(...enter, 'nft', '-j', ...args);
  if (text === undefined)
    throw new PortolanError('unavailable', 'nft could not be run in the container', {
      remedy: 'see whether nsenter and nft are installed on its host',
    });
  return text.trim() === '' ? {} : (JSON.parse(text) as unknown);
}

/** /proc/net is that of the process; a thread in another namespace has its own. */
function legacyNames(family: 'ip' | 'ip6'): readonly string[] {
  try {
    const text = readFileSync(`/proc/thread-self/net/${family}_tables_names`, 'latin1');
    return text.split('\n').filter(Boolean);
  } catch {
    return []; // No such module is loaded.
  }
}

interface NativeTables {
  readonly tables: readonly unknown[];
  readonly unreadable: readonly string[];
  /** Families in which rules of iptables-nft have extensions. */
  readonly extended: ReadonlySet<string>;
}

async function readTables(nft: Pick<Nft, 'list'>): Promise<NativeTables> {
  const unreadable: string[] = [];
  const extended = new Set<string>();
  const answers: unknown[] = [];
  const list = async (what: string, args: readonly string[]): Promise<unknown> => {
    try {
      return await nft.list(args);
    } catch (error) {
      // It may have gone since it was named.
      if (isErrno(error, 'ENOENT')) return undefined;
      if (!isPortolanError(error)) throw error;
      unreadable.push(`the rules of ${what} cannot be read and may drop it: ${error.message}`);
      return undefined;
    }
  };
  for (const { family, name } of foreignTables(await list('nftables', ['list', 'tables']))) {
    const answer = await list(`table ${family} ${name}`, ['list', 'table', family, name]);
    if (answer === undefined) continue;
    answers.push(answer);
    if (JSON.stringify(answer).includes('{"xt":')) extended.add(family);
  }
  return { tables: answers, unreadable, extended };
}

const foreignTables = (answer: unknown): z.infer<typeof table>[] =>
  (tables.safeParse(answer).data?.nftables ?? [])
    .flatMap((object) => object.table ?? [])
    .filter((each) => ['ip', 'ip6', 'inet'].includes(each.family) && !isOurs(each));

const isOurs = ({ family, name }: { readonly family: string; readonly name: string }): boolean =>
  [TABLE_REF, VIP_TABLE].some((own: NftTableRef) => own.family === family && own.name === name);

async function readLegacy(
  sources: FilterSources,
): Promise<{ readonly texts: readonly SavedText[]; readonly unreadable: readonly string[] }> {
  const texts: SavedText[] = [];
  const unreadable: string[] = [];
  for (const family of FAMILIES) {
    const names = await sources.legacyTablesOf(family);
    if (names.length === 0) continue;
    const program = `${programs[family]}-legacy-save`;
    const saved = await readSaved(sources, family, program);
    if (saved === undefined)
      unreadable.push(
        `the legacy xtables (${names.join(', ')}) cannot be read and may drop it: install ${program}`,
      );
    else texts.push(saved);
  }
  return { texts, unreadable };
}

async function readSaved(
  sources: FilterSources,
  family: 'ip' | 'ip6',
  program: string,
): Promise<SavedText | undefined> {
  const text = await sources.save(program);
  return text === undefined ? undefined : { family, text };
}

async function save(...argv: readonly string[]): Promise<string | undefined> {
  try {
    const { status, stdout } = await runCommand(argv, { timeoutMs: TIMEOUT_MS, env: { PATH } });
    return status === 0 ? stdout : undefined;
  } catch {
    return undefined; // Not installed, or it hangs.
  }
}
