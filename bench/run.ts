/**
 * `npm run bench [-- NAME[/PART]...] [-- --write]`: runs benches and prints ours, the peer's and the ratio.
 *
 * With --write, docs/benchmarks.md has the sections of this run; those of benches that did not run whole stay.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { apps } from './apps.ts';
import { cni } from './cni.ts';
import { convergence } from './convergence.ts';
import { datapath } from './datapath.ts';
import { dns } from './dns.ts';
import { labUp } from './lab-up.ts';
import { marathon } from './marathon.ts';
import { memory } from './memory.ts';
import { overlay } from './overlay.ts';
import { schedule } from './schedule.ts';
import { kept, markdown, type Bench, type Row } from './support/report.ts';
import { cleanUp, root } from './support/run.ts';
import { upgrade } from './upgrade.ts';
import { vip } from './vip.ts';
import { vipDeath } from './vip-death.ts';
import { vipLoad } from './vip-load.ts';

const benches: readonly Bench[] = [
  overlay,
  cni,
  datapath,
  labUp,
  memory,
  convergence,
  marathon,
  apps,
  upgrade,
  vipLoad,
  vip,
  vipDeath,
  dns,
  schedule,
];

interface Wanted {
  readonly bench: Bench;
  /** Absent = all of it. */
  readonly part?: string;
}

interface Result extends Wanted {
  readonly rows: readonly Row[];
}

async function main(args: readonly string[]): Promise<number> {
  const names = args.filter((arg) => !arg.startsWith('--'));
  const wanted = (names.length === 0 ? benches.map(({ name }) => name) : names).map(
    (name) => [name, find(name)] as const,
  );
  const unknown = wanted.find(([, found]) => found === undefined);
  if (unknown !== undefined) {
    console.error(`bench: no bench "${unknown[0]}"; there are ${benches.map(describe).join(', ')}`);
    return 2;
  }
  const results: Result[] = [];
  for (const [, found] of wanted) if (found !== undefined) results.push(await runBench(found));
  if (args.includes('--write')) {
    const path = join(root, 'docs', 'benchmarks.md');
    const whole = results.filter(({ part }) => part === undefined);
    writeFileSync(path, document(whole, readFileSync(path, 'utf8')));
  }
  return results.flatMap((result) => result.rows).every(kept) ? 0 : 1;
}

function find(text: string): Wanted | undefined {
  const [name, part] = text.split('/');
  const bench = benches.find((each) => each.name === name);
  if (bench === undefined || part === undefined) return bench && { bench };
  return bench.parts?.includes(part) === true ? { bench, part } : undefined;
}

function describe({ name, parts }: Bench): string {
  return parts === undefined ? name : `${name}[/${parts.join('|')}]`;
}

async function runBench({ bench, part }: Wanted): Promise<Result> {
  console.error(`bench ${bench.name}: ${part ?? bench.about}`);
  try {
    const rows = await bench.run(part);
    console.log(`${markdown(rows)}\n`);
    return { bench, ...(part === undefined ? {} : { part }), rows };
  } finally {
    cleanUp();
  }
}

/** `before`: the document as it was; what the simulator, and people below the preamble, have written into it stays. */
function document(results: readonly Result[], before: string): string {
  const machine = `${cpus().length} CPUs (${cpus()[0]?.model ?? ''}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release().split('-')[0]}, Node ${process.versions.node}`;
  const today = new Date().toISOString().slice(0, 10);
  const fresh = new Map(
    results.map(({ bench, rows }) => [
      bench.name,
      `## ${bench.name}\n\n${bench.about}. Measured on ${today}.\n\n${markdown(rows)}\n`,
    ]),
  );
  const former = sectionsOf(before);
  const sections = benches.flatMap(({ name }) => fresh.get(name) ?? former.get(name) ?? []);
  const simulated = former.get(SIMULATED) ?? '';
  const notes = notesOf(before);
  return `# Benchmarks\n\nMade by \`npm run bench -- --write\`, one bench or all of them: ${machine}.\nOurs and the peer ran in the same run on the same machine; figures of a shared virtual machine vary by 20 %, ratios by 10 %.\n\n${notes}${[...sections, simulated].join('\n')}`;
}

const SIMULATED = 'Simulated';

/** The paragraphs between the preamble, which is written anew, and the first section. */
function notesOf(text: string): string {
  const [head = ''] = text.split(/^(?=## )/m);
  const notes = head.trimEnd().split('\n\n').slice(2);
  return notes.map((paragraph) => `${paragraph}\n\n`).join('');
}

/** By title; each ends with a newline. */
function sectionsOf(text: string): Map<string, string> {
  const parts = text.split(/^(?=## )/m).slice(1);
  return new Map(parts.map((part) => [/^## (.*)/.exec(part)?.[1] ?? '', `${part.trimEnd()}\n`]));
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    cleanUp();
    process.exit(130);
  });
process.exitCode = await main(process.argv.slice(2));
