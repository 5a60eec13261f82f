import { describe, expect, it } from 'vitest';
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import { describeOperation } from './describe.ts';
import { errnoCode, errnoNumber, kernelError } from './errno.ts';
import { isErrno } from './types.ts';

describe('errors of the kernel', () => {
  it('name the operation, the reason, the kernel’s own sentence and the errno', () => {
    const error = kernelError('ip link del x', 19, 'Cannot find device');
    expect(error.message).toBe('ip link del x: no such device: Cannot find device (ENODEV)');
    expect(isErrno(error, 'ENODEV')).toBe(true);
  });

  it('keep the number of an errno without a name here', () => {
    expect(kernelError('ip link', 9999)).toMatchObject({ errno: 9999, code: 'other' });
  });

  it('map names and numbers both ways', () => {
    for (const code of ['EPERM', 'ENODEV', 'ENETUNREACH', 'EOPNOTSUPP', 'ENOBUFS'] as const)
      expect(errnoCode(errnoNumber(code))).toBe(code);
  });
});

describe('operations in words', () => {
  it('are the commands that would do the same', () => {
    const texts = [
      describeOperation({
        do: 'link-add',
        name: 'vtep1024',
        link: { kind: 'vxlan', vni: 1024, local: ip('10.0.0.1'), port: 64_000, learning: false },
        settings: { up: true, alias: 'portolan' },
      }),
      describeOperation({
        do: 'link-add',
        name: 'v',
        link: { kind: 'veth', peer: { name: 'eth0', namespacePath: '/run/netns/x' } },
        settings: { master: 'm-dcos' },
      }),
      describeOperation({ do: 'link-set', name: 'v', settings: { master: null, hairpin: true } }),
      describeOperation({
        do: 'address-replace',
        address: { link: 'br', address: interfaceAddress('9.0.1.1/25') },
      }),
      describeOperation({
        do: 'rule-add',
        rule: { family: 4, priority: 5, from: prefix('9.0.0.0/8'), to: undefined, table: 42, protocol: 225 },
      }),
    ];
    expect(texts).toEqual([
      'ip link add vtep1024 up alias "portolan" type vxlan id 1024 local 10.0.0.1 dstport 64000 nolearning',
      'ip link add v master m-dcos type veth peer name eth0 netns /run/netns/x',
      'ip link set v nomaster hairpin on',
      'ip address replace 9.0.1.1/25 dev br',
      'ip rule add priority 5 from 9.0.0.0/8 lookup 42 proto 225',
    ]);
  });
});
