/**
 * The floors of docs/ARCHITECTURE.md: a module imports only from lower floors or its own folder, and the cores are pure.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const floors: Readonly<Record<string, number>> = {
  base: 0,
  model: 1,
  trust: 1.5,
  kernel: 2,
  peer: 2,
  store: 2,
  http: 2,
  runtime: 2,
  ipam: 3,
  overlay: 3,
  gossip: 3,
  trace: 3,
  vip: 3,
  dns: 3,
  apps: 3,
  node: 4,
  agent: 5,
  master: 5,
  lab: 5,
  cni: 3,
  cli: 6,
  'main.ts': 7,
};

interface Module {
  readonly path: string;
  readonly folder: string;
  readonly text: string;
  readonly imports: readonly string[];
}

/** Adapters' interfaces, and the words for them, are values that cores may speak about; their implementations are not. */
const isTypesFile = (path: string): boolean =>
  /^src\/(kernel|peer|store|runtime)\/(nft\/)?types\.ts$|^src\/kernel\/describe\.ts$/.test(path);
const folderOf = (path: string): string => path.split('/')[1] ?? '';
const read = (path: string): Module => {
  const text = readFileSync(path, 'utf8');
  const imports = [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '');
  return { path, folder: folderOf(path), text, imports };
};
const modules = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => read(`src/${path}`));
const shipped = modules.filter((module) => !/\.test\.ts$|\/(fake|contract)\.ts$/.test(module.path));
const resolved = (module: Module): string[] =>
  module.imports
    .filter((name) => name.startsWith('.'))
    .map((name) => normalize(join(dirname(module.path), name)));

describe('floors', () => {
  it('knows every folder of src', () => {
    expect(
      [...new Set(modules.map((module) => module.folder))].filter((folder) => floors[folder] === undefined),
    ).toEqual([]);
  });

  it('lets a module import only lower floors and its own folder', () => {
    const wrong = shipped.flatMap((module) =>
      resolved(module)
        .filter((target) => folderOf(target) !== module.folder)
        .filter((target) => (floors[folderOf(target)] ?? 99) >= (floors[module.folder] ?? -1))
        .map((target) => `${module.path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('keeps the cores pure: no await, no clock, no chance, no I/O', () => {
    const cores = shipped.filter((module) => floors[module.folder] === 3);
    const wrong = cores.flatMap((module) => {
      const impure =
        /\bawait\b|\bDate\.now\b|\bMath\.random\b|\bperformance\.now\b|\bprocess\.|\bsetTimeout\b|\bsetInterval\b/;
      const code = module.text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      const found = impure.exec(code);
      const io = module.imports.filter((name) => /^node:(?!crypto$|buffer$|util$)/.test(name));
      const adapters = resolved(module).filter(
        (target) => floors[folderOf(target)] === 2 && !isTypesFile(target),
      );
      return [
        ...(found === null ? [] : [`${module.path} uses ${found[0]}`]),
        ...[...io, ...adapters].map((name) => `${module.path} imports ${name}`),
      ];
    });
    expect(wrong).toEqual([]);
  });

  it('has the FFI library in one file', () => {
    expect(shipped.filter((module) => module.imports.includes('koffi')).map((module) => module.path)).toEqual(
      ['src/kernel/libc.ts'],
    );
  });
});
