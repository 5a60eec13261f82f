import { expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { Announcer } from './announcer.ts';
import type { Publisher } from './publisher.ts';

interface Given {
  readonly clock: ManualClock;
  readonly subject: Announcer;
  /** When attachments were published, ms since the beginning. */
  readonly publishedMs: readonly number[];
  /** Attachments are under way from now on, or no longer. */
  busy(isBusy: boolean): void;
}

function announcer(): Given {
  const clock = new ManualClock(0);
  const publishedMs: number[] = [];
  let isBusy = false;
  const publisher: Publisher = {
    node: () => Promise.resolve(),
    overlays: () => Promise.resolve(),
    endpoints: async () => void publishedMs.push(clock.nowMs()),
  };
  const subject = new Announcer(
    { clock, log: silentLog, publisher },
    {
      nodeRecord: () => ({ name: 'a', address: '10.0.0.1', gossip_port: 1, api_port: 2, role: 'agent' }),
      overlays: () => [],
      grantEpoch: () => undefined,
      attachments: () => [],
      attachmentsUnderWay: () => isBusy,
      removed: () => false,
    },
  );
  return { clock, subject, publishedMs, busy: (now) => void (isBusy = now) };
}

it('publishes a container that comes alone at once, and a second one soon after it a moment later', () => {
  const { clock, subject, publishedMs } = announcer();
  clock.advance(1000);
  subject.attachmentsSoon();
  clock.advance(20);
  subject.attachmentsSoon();
  subject.attachmentsSoon();
  clock.advance(1000);
  expect(publishedMs).toEqual([1005, 1105]);
});

it('says that endpoints were published, whoever has them', () => {
  const { clock, subject } = announcer();
  let times = 0;
  subject.afterEndpoints(() => times++);
  clock.advance(1000);
  subject.attachmentsSoon();
  expect(times).toBe(0);
  clock.advance(5);
  expect(times).toBe(1);
  subject.dockerEndpoints([]);
  expect(times).toBe(2);
});

it('waits for attachments that are under way, but not for long', () => {
  const { clock, subject, publishedMs, busy } = announcer();
  clock.advance(1000);
  busy(true);
  subject.attachmentsSoon();
  clock.advance(50);
  busy(false);
  clock.advance(50);
  expect(publishedMs).toEqual([1065]);
  busy(true);
  subject.attachmentsSoon();
  clock.advance(1000);
  expect(publishedMs).toEqual([1065, 1400]);
});

it('publishes nothing when it is closed', () => {
  const { clock, subject, publishedMs } = announcer();
  subject.attachmentsSoon();
  subject.close();
  clock.advance(1000);
  expect(publishedMs).toEqual([]);
});
