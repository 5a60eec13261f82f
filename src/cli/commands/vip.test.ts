import { expect, it } from 'vitest';
import { issueLines } from './vip.ts';

it('says once of an app what is wrong with a label that all of its tasks have', () => {
  const issue = {
    label: 'VIP_0',
    value: 'web',
    problem: 'has no port',
    name: 'web.shop',
    host: 'b',
    task: '1',
  };
  const others = [
    { ...issue, task: '2', host: 'a' },
    { ...issue, task: '3' },
    { ...issue, task: '4', name: 'db' },
  ];
  expect(issueLines([issue, issue, ...others])).toEqual([
    'label VIP_0="web" of web.shop (3 tasks) on a, b: has no port',
    'label VIP_0="web" of db on b: has no port',
  ]);
});
