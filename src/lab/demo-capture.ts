/** One ping between two containers, captured on the underlay and taken apart. */
import { spawn } from 'node:child_process';
import { PortolanError } from '../base/errors.ts';
import { labPaths } from './paths.ts';
import type { DemoLab, PlacedContainer } from './demo-tools.ts';

const CAPTURE_TIMEOUT_MS = 10_000;

export interface CapturedPacket {
  readonly outer: { readonly source: string; readonly destination: string; readonly port: number };
  readonly vni: number;
  readonly inner: {
    readonly sourceMac: string;
    readonly destinationMac: string;
    readonly source: string;
    readonly destination: string;
    readonly what: string;
  };
}

/** Listens at the sender's port of the underlay bridge while one container pings the other. */
export async function capturePing(
  lab: DemoLab,
  from: PlacedContainer,
  to: PlacedContainer,
): Promise<CapturedPacket> {
  const capture = startCapture(lab.lab, from.host);
  try {
    await capture.listening;
    const ping = await lab.inContainer(from, [
      'busybox',
      'ping',
      '-c',
      '3',
      '-i',
      '0.2',
      '-W',
      '2',
      to.address,
    ]);
    if (ping.status !== 0) throw new PortolanError('internal', `Cannot ping ${to.address}: ${ping.stdout}`);
    return parseCapture(await capture.text);
  } finally {
    capture.stop();
  }
}

interface Capture {
  readonly listening: Promise<void>;
  /** What was captured, when it is enough. */
  readonly text: Promise<string>;
  stop(): void;
}

function startCapture(lab: string, port: string): Capture {
  const filter = `udp port 64000`;
  const tcpdump = ['tcpdump', '-l', '-n', '-e', '-T', 'vxlan', '-c', '1', '-i', port, filter];
  const child = spawn('nsenter', [`--net=${labPaths(lab).underlayNetns}`, '--', ...tcpdump], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: CAPTURE_TIMEOUT_MS,
  });
  let errors = '';
  const listening = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new PortolanError('internal', `Cannot capture: ${errors.trim()}`)));
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString('utf8');
      if (errors.includes('listening on')) resolve();
    });
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  const text = new Promise<string>((resolve) => child.once('close', () => resolve(output)));
  listening.catch(() => undefined);
  return { listening, text, stop: () => void child.kill('SIGKILL') };
}

/** Reads `tcpdump -n -e -T vxlan`: the outer packet on the first line, the inner one on the second. */
export function parseCapture(text: string): CapturedPacket {
  const outer =
    / ([0-9.]+)\.[0-9]+ > ([0-9.]+)\.([0-9]+): VXLAN, flags \[[^\]]*\] \([^)]*\), vni ([0-9]+)/.exec(text);
  const rest = text.slice((outer?.index ?? 0) + (outer?.[0].length ?? 0));
  const inner = /([0-9a-f:]{17}) > ([0-9a-f:]{17}), ethertype IPv4 [^:]*: ([0-9.]+) > ([0-9.]+): (.+)/.exec(
    rest,
  );
  if (outer === null || inner === null)
    throw new PortolanError('internal', `Cannot read the captured packet: ${text.trim()}`);
  const part = (match: RegExpExecArray, i: number): string => match[i] ?? '';
  return {
    outer: { source: part(outer, 1), destination: part(outer, 2), port: Number(outer[3]) },
    vni: Number(outer[4]),
    inner: {
      sourceMac: part(inner, 1),
      destinationMac: part(inner, 2),
      source: part(inner, 3),
      destination: part(inner, 4),
      what: part(inner, 5),
    },
  };
}
