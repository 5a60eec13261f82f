import { describe, expect, test } from 'vitest';
import type { Random } from '../base/random.ts';
import type { ClusterId } from '../model/names.ts';
import type { AgentOverlay, OverlayStatus } from '../model/overlay.ts';
import type { UpdateAgentOverlays } from '../model/registration.ts';
import { RegistrationMachine, type RegistrationEffect, type RegistrationEvent } from './registration.ts';

/** Chance that always falls on one half: waits are half the maximum. */
const half: Random = { next: () => 0.5, bytes: (count) => new Uint8Array(count) };

function overlay(name: string, subnet = '9.0.0.0/24'): AgentOverlay {
  const vxlan = { vni: 1024, vtep_name: 'vtep1024', vtep_ip: '44.128.0.1/20', vtep_mac: '70:b3:d5:80:00:01' };
  return { info: { name, enabled: true }, subnet, backend: { vxlan } };
}

function grant(master: string, ...overlays: AgentOverlay[]): RegistrationEvent {
  const cluster = `c${'a'.repeat(25)}` as ClusterId;
  const update: UpdateAgentOverlays = { cluster, master, grant_epoch: 1, overlays, contacts: [] };
  return { type: 'granted', update };
}

function configured(...states: [name: string, status: OverlayStatus][]): RegistrationEvent {
  return {
    type: 'configured',
    overlays: states.map(([name, status]) => ({ ...overlay(name), state: { status } })),
  };
}

function say(effect: RegistrationEffect): string {
  switch (effect.do) {
    case 'set-timer':
      return `${effect.timer} in ${effect.delayMs} ms`;
    case 'clear-timer':
      return `clear ${effect.timer}`;
    case 'configure':
      return `configure [${effect.overlays.join(' ')}] of [${effect.grant.overlays.map((each) => each.info.name).join(' ')}]`;
    case 'report':
      return `report to ${effect.master}: ${effect.overlays.map((each) => `${each.info.name} ${each.state?.status}`).join(', ')}`;
    case 'renew':
      return 'renew';
    default:
      return `${effect.do} ${effect.master}`;
  }
}

/** A machine whose every step answers one readable line. */
function machine(init: { maxConfigurationAttempts?: number } = {}) {
  const machine = new RegistrationMachine({ random: half }, { maxConfigurationAttempts: 4, ...init });
  const step = (event: RegistrationEvent): string =>
    `${machine.step(event).map(say).join('; ')}${machine.status === 'REGISTERED' ? ' REGISTERED' : ''}`.trim();
  return { machine, step };
}

const start = { type: 'start' } as const;
const attempt = { type: 'attempt' } as const;
const refused = (why: 'removed' | 'refused' | 'unreachable') => ({ type: 'refused', why }) as const;
const acknowledged = (master: string) => ({ type: 'acknowledged', master }) as const;
const unacknowledged = (why: 'refused' | 'unreachable') => ({ type: 'unacknowledged', why }) as const;
const health = (master?: string) => ({ type: 'health', master }) as const;

/** Brings a machine to REGISTERED with overlays a and b. */
function registered(init: Parameters<typeof machine>[0] = {}) {
  const pair = machine(init);
  for (const event of [
    start,
    grant('m1', overlay('a'), overlay('b')),
    configured(['a', 'STATUS_OK'], ['b', 'STATUS_OK']),
    acknowledged('m1'),
  ])
    pair.step(event);
  expect(pair.machine.status).toBe('REGISTERED');
  return pair;
}

describe('a registration', () => {
  test('goes through its five messages', () => {
    const { step } = machine();
    expect([
      step(start),
      step(grant('m1', overlay('a'), overlay('b'))),
      step(configured(['a', 'STATUS_OK'], ['b', 'STATUS_OK'])),
      step(acknowledged('m1')),
      step(attempt),
    ]).toEqual([
      'register 0; attempt in 2500 ms; check in 5000 ms',
      'configure [a b] of [a b]',
      'report to 0: a STATUS_OK, b STATUS_OK',
      'clear attempt REGISTERED',
      'REGISTERED',
    ]);
  });

  test('waits a random part of 5 s, doubling to 10 minutes, and sends nothing while an answer is out', () => {
    const { step } = machine();
    const lines = [step(start)];
    for (let i = 0; i < 9; i++) {
      if (i === 1) lines.push(step(attempt));
      step(refused('unreachable'));
      lines.push(step(attempt));
    }
    expect(lines).toEqual([
      'register 0; attempt in 2500 ms; check in 5000 ms',
      'register 1; attempt in 5000 ms',
      'attempt in 10000 ms',
      'register 2; attempt in 20000 ms',
      'register 3; attempt in 40000 ms',
      'register 4; attempt in 80000 ms',
      'register 5; attempt in 160000 ms',
      'register 6; attempt in 300000 ms',
      'register 7; attempt in 300000 ms',
      'register 8; attempt in 300000 ms',
      'register 9; attempt in 300000 ms',
    ]);
  });

  test('tries several masters in turn', () => {
    const { step } = machine();
    const lines = [step(start)];
    for (let i = 0; i < 3; i++) {
      step(refused('unreachable'));
      lines.push(step(attempt).split(';')[0] ?? '');
    }
    expect(lines.map((line) => line.slice(0, 10))).toEqual([
      'register 0',
      'register 1',
      'register 2',
      'register 3',
    ]);
  });

  test('ignores grants it did not ask for', () => {
    const { step } = machine();
    step(start);
    step(grant('m1', overlay('a')));
    expect(step(grant('m1', overlay('a')))).toBe('');
    step(configured(['a', 'STATUS_OK']));
    step(acknowledged('m1'));
    expect(step(grant('m1', overlay('a'), overlay('b')))).toBe('REGISTERED');
  });
});

describe('overlays that fail', () => {
  test('are tried again at the next attempt, without those that are OK', () => {
    const { step } = machine();
    step(start);
    step(grant('m1', overlay('a'), overlay('b')));
    expect([
      step(configured(['a', 'STATUS_OK'], ['b', 'STATUS_FAILED'])),
      step(acknowledged('m1')),
      step(attempt),
      step(grant('m1', overlay('a'), overlay('b'))),
      step(configured(['b', 'STATUS_OK'])),
      step(acknowledged('m1')),
    ]).toEqual([
      'report to 0: a STATUS_OK, b STATUS_FAILED',
      '',
      'register 0; attempt in 5000 ms',
      'configure [b] of [a b]',
      'report to 0: a STATUS_OK, b STATUS_OK',
      'clear attempt REGISTERED',
    ]);
  });

  test('end after max_configuration_attempts in REGISTERED all the same', () => {
    const { step, machine: core } = machine({ maxConfigurationAttempts: 2 });
    step(start);
    for (let i = 0; i < 3; i++) {
      step(grant('m1', overlay('a')));
      step(configured(['a', 'STATUS_FAILED']));
      const line = step(acknowledged('m1'));
      expect([core.attempts, line]).toEqual([i + 1, i < 2 ? '' : 'clear attempt REGISTERED']);
      if (i < 2) step(attempt);
    }
    expect(core.overlays[0]?.state?.status).toBe('STATUS_FAILED');
  });

  test('include one of which the configuration says nothing', () => {
    const { step } = machine();
    step(start);
    step(grant('m1', overlay('a'), overlay('b')));
    expect(step(configured(['a', 'STATUS_OK']))).toBe('report to 0: a STATUS_OK, b STATUS_FAILED');
  });
});

describe('another master', () => {
  test('found by its instance makes the agent register at once, and configures only what is new', () => {
    const { step } = registered();
    expect([
      step(health('m1')),
      step(health('m2')),
      step(grant('m2', overlay('a'), overlay('b'), overlay('c'))),
      step(configured(['c', 'STATUS_OK'])),
      step(acknowledged('m2')),
    ]).toEqual([
      'REGISTERED',
      'register 0; attempt in 2500 ms',
      'configure [c] of [a b c]',
      'report to 0: a STATUS_OK, b STATUS_OK, c STATUS_OK',
      'clear attempt REGISTERED',
    ]);
  });

  test('with a changed overlay makes the agent configure that one again', () => {
    const { step } = registered();
    step(health('m2'));
    expect(step(grant('m2', overlay('a', '9.0.7.0/24'), overlay('b')))).toBe('configure [a] of [a b]');
  });

  test('that is seen while configuring is registered with afterwards', () => {
    const { step } = machine();
    step(start);
    step(grant('m1', overlay('a')));
    expect(step(health('m2'))).toBe('');
    step(configured(['a', 'STATUS_OK']));
    expect(step(acknowledged('m2'))).toBe('register 0; attempt in 2500 ms');
  });
});

describe('a master that cannot be reached', () => {
  test('makes the agent REGISTERING with the first back-off, at the next master', () => {
    const { step } = registered();
    expect([step(health()), step(attempt)]).toEqual(['attempt in 2500 ms', 'register 1; attempt in 5000 ms']);
  });

  test('is registered with at once when it is back, however long the back-off has become', () => {
    const { step } = registered();
    step(health());
    for (let i = 0; i < 10; i++) {
      step(attempt);
      step(refused('unreachable'));
    }
    expect(step(health('m1'))).toBe('register 11; attempt in 2500 ms');
  });

  test('during the report is registered with again as soon as it answers', () => {
    const { step } = machine();
    step(start);
    step(grant('m1', overlay('a')));
    step(configured(['a', 'STATUS_OK']));
    expect([step(unacknowledged('unreachable')), step(health('m1'))]).toEqual([
      '',
      'register 1; attempt in 2500 ms',
    ]);
  });
});

describe('a refusal', () => {
  test('of the report leaves the back-off in charge', () => {
    const { step } = machine();
    step(start);
    step(grant('m1', overlay('a')));
    step(configured(['a', 'STATUS_OK']));
    expect([step(unacknowledged('refused')), step(health('m1')), step(attempt)]).toEqual([
      '',
      '',
      'register 1; attempt in 5000 ms',
    ]);
  });

  test('is not asked again before the back-off although the master is healthy', () => {
    const { step } = machine();
    step(start);
    step(refused('refused'));
    expect(step(health('m1'))).toBe('');
  });

  test('because the node was removed makes it take a new identity, then register with nothing', () => {
    const { step, machine: core } = registered();
    step(health('m2'));
    expect([
      step(refused('removed')),
      step(attempt).split(';')[0],
      step({ type: 'renewed', done: true }),
      step(attempt),
      step(grant('m2', overlay('a'), overlay('b'))),
    ]).toEqual([
      'clear attempt; renew',
      'attempt in 5000 ms',
      'attempt in 2500 ms',
      'register 0; attempt in 5000 ms',
      'configure [a b] of [a b]',
    ]);
    expect(core.attempts).toBe(0);
  });
});

test('the health of the master is asked for every five seconds', () => {
  const { step } = registered();
  expect(step({ type: 'check' })).toBe('ask-health 0; check in 5000 ms REGISTERED');
});
