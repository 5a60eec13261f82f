import { describe, expect, it } from 'vitest';
import { parseInput, type Refused } from '../apps/issues.ts';
import { appInput, appsInput, groupInput } from '../apps/schema.ts';
import { describeError, type PortolanError } from '../base/errors.ts';
import { answerError } from './answer-error.ts';
import { refusalError } from './definition-refusal.ts';

/** What a person is told of `body`, by the API's own answer to it. */
function told(body: unknown): string {
  const isGroup = typeof body === 'object' && body !== null && 'groups' in body;
  try {
    parseInput<unknown>(Array.isArray(body) ? appsInput : isGroup ? groupInput : appInput, body);
  } catch (error) {
    const details = (error as Refused).issues;
    const answer = answerError({ status: 422, body: { message: 'Object is not valid', details } });
    return describeError(refusalError(answer, body, 'web.json'));
  }
  return 'accepted';
}

describe('a refused definition', () => {
  it.each([
    [{ instances: -1 }, 'instances: must be at least 0, and is -1'],
    [{ instances: 1.5 }, 'instances: must be a whole number, and is 1.5'],
    [{ instances: 'two' }, 'instances: must be a number, and is "two"'],
    [{ cmd: '' }, 'cmd: must have at least 1 character'],
    [
      { portDefinitions: [{ port: 80 }, { port: 70_000 }] },
      'portDefinitions[1].port: must be at most 65535, and is 70000',
    ],
    [
      { portDefinitions: [{ name: 'A B' }] },
      'portDefinitions[0].name: must fit /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, and is "A B"',
    ],
    [{ killSelection: 'ANY' }, 'killSelection: must be YOUNGEST_FIRST, OLDEST_FIRST; it is "ANY"'],
    [{ container: { docker: {} } }, 'container.docker.image: is missing'],
    [[{ id: '/a' }, { id: '/b', mem: -1 }], '[1].mem: must be at least 0, and is -1'],
    [
      { groups: [{ id: 'g', apps: [{ id: 'a', cpus: 'x' }] }] },
      'groups[0].apps[0].cpus: must be a number, and is "x"',
    ],
  ])('%j', (body, said) => {
    expect(told(body)).toBe(`Cannot apply web.json: ${said}: correct the file and apply it again`);
  });

  it('says everything at once, and rules in their own words', () => {
    const details = [
      { path: '/', errors: ['AppDefinition must either contain one of'] },
      { path: '/instances', errors: ['error.min'] },
      { path: '/of/another/version', errors: ['error.max'] },
    ];
    const answer = answerError({ status: 422, body: { message: 'Object is not valid', details } });
    expect((refusalError(answer, { instances: -2 }, 'a.yaml') as PortolanError).message).toBe(
      'Cannot apply a.yaml: AppDefinition must either contain one of; instances: must be at least 0, and is -2; of.another.version: is more than it may be',
    );
  });

  it('leaves other errors alone', () => {
    const locked = answerError({ status: 409, body: { message: 'x', deployments: [{ id: 'd-1' }] } });
    expect(refusalError(locked, {}, 'a.yaml')).toBe(locked);
    const lost = new Error('lost');
    expect(refusalError(lost, {}, 'a.yaml')).toBe(lost);
  });
});
