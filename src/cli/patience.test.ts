import { expect, it } from 'vitest';
import { PortolanError, type ErrorCode } from '../base/errors.ts';
import type { CliContext } from './context.ts';
import { patient } from './patience.ts';

const target = { socketPath: '/agent.sock' };
const init = { method: 'GET', path: '/' } as const;

/** Fails so often before it answers. */
function failing(times: number, code: ErrorCode): { context: CliContext; asked: () => number } {
  let asked = 0;
  const call = (): Promise<unknown> =>
    asked++ < times ? Promise.reject(new PortolanError(code, 'no')) : Promise.resolve('answer');
  return { context: { call } as unknown as CliContext, asked: () => asked };
}

it('asks again while the agent is away', async () => {
  const { context, asked } = failing(2, 'unavailable');
  expect(await patient(context).call(target, init)).toBe('answer');
  expect(asked()).toBe(3);
});

it('does not wait for one that has answered, or stays away', async () => {
  const refused = failing(1, 'not-found');
  await expect(patient(refused.context).call(target, init)).rejects.toMatchObject({ code: 'not-found' });
  expect(refused.asked()).toBe(1);
  const away = failing(Infinity, 'unavailable');
  await expect(patient(away.context, 0).call(target, init)).rejects.toMatchObject({ code: 'unavailable' });
});
