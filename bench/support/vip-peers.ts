/** The same VIPs for others: as HAProxy and iptables are told of them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './run.ts';
import { BACKENDS, backend } from './vip-topology.ts';

/** VIPs are numbered from 1. */
export const addressOfVip = (index: number): string =>
  `11.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;

const backends = Array.from({ length: BACKENDS }, (_, i) => backend(i));

/** Path of a configuration; one thread, as one CPU is left for it. */
export function haproxyConfig(count: number, port: number): string {
  const lines = ['global', ' nbthread 1', ' maxconn 4000', 'defaults', ' mode tcp', ' balance random'];
  lines.push(' timeout connect 5s', ' timeout client 10s', ' timeout server 10s');
  for (let i = 1; i <= count; i++) {
    lines.push(`listen v${i}`, ` bind ${addressOfVip(i)}:80`);
    for (const [each, address] of backends.entries()) lines.push(` server b${each} ${address}:${port}`);
  }
  const path = join(temporaryFolder(), 'haproxy.cfg');
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

/** A chain of services, a chain for each, and a share for each backend: as kube-proxy's iptables mode. */
export function iptablesRules(count: number, port: number): string {
  const lines = ['*nat', ':PREROUTING ACCEPT [0:0]', ':SVCS - [0:0]'];
  for (let i = 1; i <= count; i++) lines.push(`:S${i} - [0:0]`);
  lines.push('-A PREROUTING -j SVCS');
  for (let i = 1; i <= count; i++) {
    lines.push(`-A SVCS -d ${addressOfVip(i)}/32 -p tcp -m tcp --dport 80 -j S${i}`);
    for (const [each, address] of backends.entries()) {
      const left = BACKENDS - each;
      const share = left === 1 ? '' : `-m statistic --mode random --probability ${(1 / left).toFixed(10)} `;
      lines.push(`-A S${i} -p tcp ${share}-j DNAT --to-destination ${address}:${port}`);
    }
  }
  lines.push('COMMIT');
  return `${lines.join('\n')}\n`;
}
