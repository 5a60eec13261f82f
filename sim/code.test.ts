import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashOfShipped } from './code.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'portolan-code-'));
  put('src/delay.js', `export const delay = () => 5;\nexport const unused = 1;\n`);
  put('src/other.js', 'export const other = 1;\n');
  put('sim/main.js', `import { delay } from '../src/delay.js';\nconsole.log(delay());\n`);
});
afterEach(() => rmSync(root, { recursive: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

const hash = (): Promise<string> => hashOfShipped(join(root, 'sim/main.js'), join(root, 'src'));

describe('the hash of shipped code', () => {
  it.each([
    ['a comment', 'src/delay.js', `/** In ms. */\nexport const delay = () => 5;\n`],
    ['what is not used', 'src/delay.js', `export const delay = () => 5;\nexport const unused = 2;\n`],
    ['a module that is not loaded', 'src/other.js', 'export const other = 2;\n'],
    ['the simulator', 'sim/main.js', `import { delay } from '../src/delay.js';\nconsole.error(delay());\n`],
  ])('stays when %s changes', async (_, path, text) => {
    const before = await hash();
    put(path, text);
    expect(await hash()).toBe(before);
  });

  it('changes with what runs', async () => {
    const before = await hash();
    put('src/delay.js', 'export const delay = () => 6;\n');
    expect(await hash()).not.toBe(before);
  });

  it('is none of a program without shipped code', async () => {
    put('sim/main.js', 'console.log(1);\n');
    await expect(hash()).rejects.toThrow(/runs nothing of/);
  });
});
