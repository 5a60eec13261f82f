import { expect, it } from 'vitest';
import { SharedWork } from './shared-work.ts';

const never = new AbortController().signal;

it('work that several wait for is done once, and anew for who comes later', async () => {
  const works = new SharedWork<number>();
  let begun = 0;
  const join = (): Promise<number> => works.join('a', never, () => Promise.resolve((begun += 1)));
  expect(await Promise.all([join(), join(), join()])).toEqual([1, 1, 1]);
  expect(works.isUnderWay).toBe(false);
  expect(await join()).toBe(2);
});

it('work goes on while somebody waits, and is stopped when nobody does; who comes then begins it anew', async () => {
  const works = new SharedWork<string>();
  const stopped: string[] = [];
  const [one, two] = [new AbortController(), new AbortController()];
  const start = (signal: AbortSignal): Promise<string> =>
    new Promise((_, reject) =>
      signal.addEventListener('abort', () => {
        stopped.push('stopped');
        setImmediate(() => reject(signal.reason as Error));
      }),
    );
  const first = works.join('a', one.signal, start);
  const second = works.join('a', two.signal, start);
  one.abort(new Error('first left'));
  await expect(first).rejects.toThrow('first left');
  expect(stopped).toEqual([]);
  two.abort(new Error('second left'));
  await expect(second).rejects.toThrow('second left');
  expect(stopped).toEqual(['stopped']);
  expect(await works.join('a', never, () => Promise.resolve('anew'))).toBe('anew');
});

it('a failure is everybody’s, and who has given up before it began begins nothing', async () => {
  const works = new SharedWork<string>();
  const fail = (): Promise<string> => Promise.reject(new Error('no'));
  const all = await Promise.allSettled([works.join('a', never, fail), works.join('a', never, fail)]);
  expect(all.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  const gone = AbortSignal.abort(new Error('gone'));
  await expect(works.join('a', gone, () => Promise.resolve('x'))).rejects.toThrow('gone');
  expect(works.isUnderWay).toBe(false);
});
