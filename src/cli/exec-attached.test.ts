import { describe, expect, it } from 'vitest';
import { execRefusal } from './exec-attached.ts';

const runc = (why: string): string => `time="2026-11-21T20:00:00Z" level=error msg="exec failed: ${why}"\n`;

describe('execRefusal', () => {
  it.each([
    [
      runc(String.raw`unable to start container process: exec: \"nope\": executable file not found in $PATH`),
      127,
      '"nope": executable file not found in $PATH',
    ],
    [
      runc(String.raw`unable to start container process: exec: \"/x\": stat /x: no such file or directory`),
      127,
      '"/x": stat /x: no such file or directory',
    ],
    [
      runc(String.raw`unable to start container process: exec: \"/etc/passwd\": permission denied`),
      126,
      '"/etc/passwd": permission denied',
    ],
    [runc('cannot exec in a stopped container'), 126, 'cannot exec in a stopped container'],
    [
      'OCI runtime exec failed: exec failed: unable to start container process: exec: "nope": executable file not found in $PATH: unknown\r\n',
      127,
      '"nope": executable file not found in $PATH',
    ],
  ])('reads %j', (refusal, status, problem) => {
    expect(execRefusal(refusal)).toEqual({ status, problem });
  });

  it.each(['', 'exec: failed', 'time="x" level=error msg="out of disk"\n', 'an exec failed: so what\n'])(
    "leaves a program's own words alone: %j",
    (words) => {
      expect(execRefusal(words)).toBeUndefined();
    },
  );
});
