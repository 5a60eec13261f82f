/** How `--publish` and `--label` are written. */
import { InvalidArgumentError } from 'commander';
import type { PortMapping } from '../model/endpoint.ts';

/** `8080:80`, `53:5353/udp`; collects over repetitions. */
export function collectPort(text: string, previous: readonly PortMapping[]): readonly PortMapping[] {
  const match = /^([0-9]{1,5}):([0-9]{1,5})(?:\/(tcp|udp|sctp))?$/.exec(text);
  const [hostPort, containerPort] = [Number(match?.[1]), Number(match?.[2])];
  const inRange = (port: number): boolean => port >= 1 && port <= 65_535;
  if (match === null || !inRange(hostPort) || !inRange(containerPort))
    throw new InvalidArgumentError('Write hostPort:containerPort or hostPort:containerPort/protocol.');
  const protocol = (match[3] ?? 'tcp') as PortMapping['protocol'];
  return [...previous, { hostPort, containerPort, protocol }];
}

/** `key=value`; collects over repetitions. */
export function collectLabel(
  text: string,
  previous: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new InvalidArgumentError('Write key=value.');
  return { ...previous, [text.slice(0, equals)]: text.slice(equals + 1) };
}
