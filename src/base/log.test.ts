import { describe, expect, it } from 'vitest';
import { PortolanError } from './errors.ts';
import { createLog } from './log.ts';

function recorder() {
  const lines: string[] = [];
  return { lines, log: createLog('info', { program: 'agent' }, { write: (line) => void lines.push(line) }) };
}

describe('createLog', () => {
  it('names a component of a component once', () => {
    const { lines, log } = recorder();
    log.child('exchange', { node: 'n1' }).child('gossip').info('connected');
    expect(lines[0]?.match(/"component"/g)).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      program: 'agent',
      component: 'exchange.gossip',
      node: 'n1',
      msg: 'connected',
    });
  });

  it('writes an error as its message and remedy', () => {
    const { lines, log } = recorder();
    log.warn('failed', { error: new PortolanError('invalid', 'Cannot do it', { remedy: 'do that' }) });
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ error: 'Cannot do it: do that' });
  });
});
