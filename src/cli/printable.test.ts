import { expect, test } from 'vitest';
import { printable } from './printable.ts';

test('printable() leaves nothing that a terminal would obey', () => {
  expect(printable('rack 3, Zürich\nrow 2')).toBe('rack 3, Zürich\nrow 2');
  expect(printable('a\u001b[31mred\u009b2J\r\u202eb')).toBe('a�[31mred�2J��b');
});
