import { describe, expect, it } from 'vitest';
import { describeError } from '../base/errors.ts';
import { errorBody } from './errors.ts';

describe('errorBody', () => {
  it('says that the disk is full, and what helps', () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      ...{ code: 'ENOSPC', syscall: 'write' },
    });
    const remedy = 'make room on the file system of state_dir and try again';
    expect(errorBody(full)).toEqual({
      message: 'Cannot answer the request: no space is left on the disk',
      code: 'unavailable',
      remedy,
    });
    expect(describeError(full)).toBe(`ENOSPC: no space left on device, write: ${remedy}`);
  });

  it('keeps the text of what nobody expected out of the answer', () => {
    const body = errorBody(Object.assign(new Error('secret'), { code: 'ENOSPC' }));
    expect(body.code).toBe('internal');
    expect(JSON.stringify(body)).not.toContain('secret');
  });
});
