import { describe, expect, it } from 'vitest';
import { fragment, label } from './dns-name.ts';

describe('DNS names', () => {
  it.each([
    ['/group/sub/app', 'groupsubapp'],
    ['api.hello-world', 'api.hello-world'],
    ['My_App', 'my-app'],
    ['..a..-b-', 'a.b'],
    ['x'.repeat(70), 'x'.repeat(63)],
  ])('%s becomes %s', (text, expected) => {
    expect(fragment(text)).toBe(expected);
  });

  it('makes one label of a task name', () => {
    expect(label('myapp.sub.outer')).toBe('myapp-sub-outer');
  });
});
