import { beforeEach, expect, it, vi } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { memoryLog } from '../base/log.ts';
import { Asides } from './asides.ts';
import { AwaitedMailbox } from './awaited-mailbox.ts';
import type { Mailbox } from './types.ts';

let clock: ManualClock;
let log: ReturnType<typeof memoryLog>;
let asides: Asides;
let mailbox: Mailbox;
let isTaken: boolean;

beforeEach(() => {
  [clock, log, asides, isTaken] = [new ManualClock(), memoryLog(), new Asides(), true];
  mailbox = { take: () => undefined, send: () => undefined, addressOf: () => undefined, close: vi.fn() };
});

const awaited = (): AwaitedMailbox =>
  new AwaitedMailbox({ clock, log, asides }, () => {
    if (isTaken) throw new Error('EADDRINUSE');
    return mailbox;
  });

it('is opened as soon as its port is free, which is told once each', () => {
  awaited();
  clock.advance(60_000);
  expect(asides.mailbox).toBeUndefined();
  isTaken = false;
  clock.advance(10_000);
  expect(asides.mailbox).toBe(mailbox);
  clock.advance(60_000);
  expect(log.lines.map(({ level }) => level)).toEqual(['warn', 'info']);
});

it('is not opened any more after it was closed, and closed when it was open', () => {
  awaited().close();
  isTaken = false;
  clock.advance(60_000);
  expect(asides.mailbox).toBeUndefined();
  const open = awaited();
  expect(asides.mailbox).toBe(mailbox);
  open.close();
  expect(asides.mailbox).toBeUndefined();
  expect(mailbox.close).toHaveBeenCalledOnce();
});
