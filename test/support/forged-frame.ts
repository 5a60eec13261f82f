/** A frame with a source that nobody has, and a sender of VXLAN that is no host: what a container could make up. */
import { execFileSync } from 'node:child_process';
import { ip } from '../../src/base/ip.ts';

/** Of no host and no container (RFC 5737): whoever gets it through can send anything. */
export const FORGED_SOURCE = '203.0.113.9';
const VXLAN_PORT = 64_000;
/** With VNI 1024 (RFC 7348, section 5). */
const VXLAN_HEADER = '0800000000040000';
const SENDER = '70b3d580000a';
const IPV4 = '0800';

/** An empty UDP packet for a container, behind the VTEP with this MAC. */
export function forgedFrame(vtepMac: string, to: string): Buffer {
  const packet = Buffer.from('4500001c0001000040110000000000000000000004d204d200080000', 'hex');
  packet.set(ip(FORGED_SOURCE).bytes(), 12);
  packet.set(ip(to).bytes(), 16);
  packet.writeUInt16BE(checksum(packet.subarray(0, 20)), 10);
  return Buffer.concat([Buffer.from(vtepMac.replaceAll(':', '') + SENDER + IPV4, 'hex'), packet]);
}

/** RFC 1071. */
function checksum(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}

/** Wrapped as hosts do it, sent by anybody. */
export function sendVxlan(netns: string, to: string, frame: Buffer): void {
  const script = `
    const socket = require('node:dgram').createSocket('udp4');
    socket.bind(() => {
      socket.setBroadcast(true);
      const payload = Buffer.from('${VXLAN_HEADER}${frame.toString('hex')}', 'hex');
      socket.send(payload, ${VXLAN_PORT}, '${to}', () => socket.close());
    });`;
  execFileSync('nsenter', [`--net=${netns}`, process.execPath, '-e', script]);
}
