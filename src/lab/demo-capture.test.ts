import { expect, it } from 'vitest';
import { parseCapture } from './demo-capture.ts';

const captured = `01:30:00.100000 6e:03:dd:fe:d6:03 > 42:a1:00:00:00:02, ethertype IPv4 (0x0800), length 148: 10.0.0.11.47913 > 10.0.0.12.64000: VXLAN, flags [I] (0x08), vni 1024
70:b3:d5:80:00:02 > 70:b3:d5:80:00:03, ethertype IPv4 (0x0800), length 98: 9.0.1.2 > 9.0.2.2: ICMP echo request, id 7, seq 0, length 64
`;

it('takes a captured packet apart into its outer and inner headers', () => {
  expect(parseCapture(captured)).toEqual({
    outer: { source: '10.0.0.11', destination: '10.0.0.12', port: 64_000 },
    vni: 1024,
    inner: {
      sourceMac: '70:b3:d5:80:00:02',
      destinationMac: '70:b3:d5:80:00:03',
      source: '9.0.1.2',
      destination: '9.0.2.2',
      what: 'ICMP echo request, id 7, seq 0, length 64',
    },
  });
});

it.each(['', 'tcpdump: no such device', captured.split('\n')[0] ?? ''])(
  'says when there is no packet in "%s"',
  (text) => {
    expect(() => parseCapture(text)).toThrowError(/Cannot read the captured packet/);
  },
);
