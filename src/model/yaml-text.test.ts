import { describe, expect, it } from 'vitest';
import { parseYaml } from './yaml-text.ts';

describe('parseYaml()', () => {
  it('reads YAML, JSON and nothing', () => {
    expect(parseYaml('a: [1, b]')).toEqual({ value: { a: [1, 'b'] } });
    expect(parseYaml('{"a": [1, "b"]}')).toEqual({ value: { a: [1, 'b'] } });
    expect(parseYaml('')).toEqual({ value: null });
  });

  it.each([
    ['{"id": ', 'at line 1'],
    ['a: 1\na: 2', 'Map keys must be unique at line 2, column 1'],
    ['a: *nowhere', 'Unresolved alias'],
  ])('says in a line what is wrong with %j', (text, said) => {
    const parsed = parseYaml(text);
    const problem = 'problem' in parsed ? parsed.problem : '';
    expect(problem).toContain(said);
    expect(problem).not.toMatch(/\n|:$/);
  });

  it('refuses aliases that would fill the memory', () => {
    const levels = Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`);
    expect(parseYaml(`a0: &a0 [x]\n${levels.join('\n')}`)).toMatchObject({
      problem: expect.stringContaining('Excessive alias count') as string,
    });
  });
});
