/**
 * One query at a time, by a socket that blocks: what a stub resolver sees. Prints percentiles in microseconds.
 *
 * Names are `PREFIX<number>SUFFIX`, so that each may be another one.
 */
import * as libc from '../src/kernel/libc.ts';
import { Batch } from '../src/kernel/udp/batch.ts';
import { socketAddress } from '../src/kernel/udp/bound-socket.ts';
import { ip } from '../src/base/ip.ts';
import { encodeQuery } from '../src/dns/message.ts';

const [port = '', prefix = '', suffix = '', names = '', seconds = ''] = process.argv.slice(2);
const AF_INET = 2;
const SOCK_DGRAM = 2;
const A = 1;
const WARM_UP = 2_000;

const fd = libc.socket(AF_INET, SOCK_DGRAM, 0);
const limit = Buffer.alloc(16);
limit.writeUInt32LE(1, 0);
libc.setsockopt(fd, libc.SOL_SOCKET, libc.SO_RCVTIMEO, limit);
const to = socketAddress(ip('127.0.0.1'), Number(port));
const batch = new Batch(512, 1);
const answer = Buffer.alloc(4096);
const taken: number[] = [];
let bad = 0;

for (let i = 0, end = performance.now() + Number(seconds) * 1000; performance.now() < end; i++) {
  const query = encodeQuery(`${prefix}${(i * 7919) % Number(names)}${suffix}`, A) as Buffer;
  query.writeUInt16BE(i & 0xffff, 0);
  batch.slots[0]?.set(query);
  batch.send(0, query.length, to);
  const start = performance.now();
  batch.transmit(fd, 1);
  const length = libc.recv(fd, answer);
  if (i >= WARM_UP) taken.push((performance.now() - start) * 1000);
  if (length < 12 || answer.readUInt16BE(0) !== (i & 0xffff) || answer.readUInt16BE(6) !== 1) bad++;
}
taken.sort((a, b) => a - b);
const at = (part: number): number => taken[Math.floor(taken.length * part)] ?? 0;
process.stdout.write(`${JSON.stringify({ p50: at(0.5), p99: at(0.99), count: taken.length, bad })}\n`);
