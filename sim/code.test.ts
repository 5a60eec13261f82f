import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashOfShipped } from './code.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'portolan-code-'));
  put('src/base/time.js', 'export const unit = 1;\n');
  put(
    'src/gossip/delay.js',
    `import { unit } from '../base/time.js';\nexport const delay = () => 5 * unit;\n`,
  );
  put('src/gossip/other.js', 'export const other = 1;\n');
  put('sim/main.js', `import { delay } from '../src/gossip/delay.js';\nconsole.log(delay());\n`);
});
afterEach(() => rmSync(root, { recursive: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

const hash = (): Promise<string> => hashOfShipped(join(root, 'sim/main.js'), join(root, 'src'), ['gossip']);

describe('the hash of shipped code', () => {
  it.each([
    ['a module that is not loaded', 'src/gossip/other.js', 'export const other = 2;\n'],
    ['what is in no folder that counts', 'src/base/time.js', 'export const unit = 2;\n'],
    [
      'the simulator',
      'sim/main.js',
      `import { delay } from '../src/gossip/delay.js';\nconsole.error(delay());\n`,
    ],
  ])('stays when %s changes', async (_, path, text) => {
    const before = await hash();
    put(path, text);
    expect(await hash()).toBe(before);
  });

  it('changes with what runs', async () => {
    const before = await hash();
    put('src/gossip/delay.js', 'export const delay = () => 6;\n');
    expect(await hash()).not.toBe(before);
  });

  it('is none of a program without shipped code', async () => {
    put('sim/main.js', 'console.log(1);\n');
    await expect(hash()).rejects.toThrow(/runs nothing of/);
  });
});
