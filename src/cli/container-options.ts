/** How `--publish` and `--label` are written. */
import { InvalidArgumentError } from 'commander';
import { portMapping, type PortMapping } from '../model/endpoint.ts';

/** `8080:80`, `53:5353/udp`, `127.0.0.1:8080:80`, `[::1]:8080:80`; collects over repetitions. */
export function collectPort(text: string, previous: readonly PortMapping[]): readonly PortMapping[] {
  const match = /^(?:([0-9.]+|\[[0-9a-f:.]+\]):)?([0-9]{1,5}):([0-9]{1,5})(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const [, host, hostPort, containerPort, protocol = 'tcp'] = match ?? [];
  const mapping = portMapping.safeParse({
    hostPort: Number(hostPort),
    containerPort: Number(containerPort),
    protocol: protocol.toLowerCase(),
    ...(host === undefined ? {} : { hostIP: host.replace(/^\[|\]$/g, '') }),
  });
  if (!mapping.success)
    throw new InvalidArgumentError(
      'Write [hostIP:]hostPort:containerPort[/protocol], as in 8080:80 or 53:53/udp.',
    );
  return [...previous, mapping.data];
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
