/** What is shipped for a host's other managers covers every device that Portolan makes. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { dockerBridgeName, mesosBridgeName, VTEP_NAME } from '../../src/model/overlay.ts';
import { hostLinkName } from '../../src/agent/attachments-record.ts';

const read = (path: string): string => readFileSync(`packaging/${path}`, 'utf8');

describe('packaging', () => {
  it('keeps NetworkManager off our devices', () => {
    const [, list = ''] = /^unmanaged-devices\+=(.*)$/m.exec(read('networkmanager/portolan.conf')) ?? [];
    const patterns = list
      .split(';')
      .map((each) => new RegExp(`^${each.replace('interface-name:', '').replace('*', '.*')}$`));
    const devices = [
      VTEP_NAME,
      mesosBridgeName('dcos'),
      dockerBridgeName('dcos'),
      hostLinkName('c1', 'eth0'),
    ];
    for (const device of devices) expect(patterns.some((pattern) => pattern.test(device))).toBe(true);
    expect(patterns.some((pattern) => pattern.test('eth0'))).toBe(false);
  });

  it('keeps systemd-networkd off our routes and rules', () => {
    const text = read('systemd/networkd-portolan.conf');
    expect(text).toContain('ManageForeignRoutes=no');
    expect(text).toContain('ManageForeignRoutingPolicyRules=no');
  });

  it('starts agent and master again for ever, and ends neither containers nor sockets with them', () => {
    for (const unit of ['agent', 'master']) {
      const text = read(`systemd/portolan-${unit}.service`);
      for (const line of ['Restart=always', 'StartLimitIntervalSec=0', 'RuntimeDirectoryPreserve=yes'])
        expect(text).toContain(line);
    }
    expect(read('systemd/portolan-agent.service')).toContain('KillMode=process');
  });
});
