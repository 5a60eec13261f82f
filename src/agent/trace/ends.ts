/** Who is meant by the two ends of a trace: a container or task, a host, or an address of one of them. */
import { PortolanError } from '../../base/errors.ts';
import { parseIp, prefix } from '../../base/ip.ts';
import type { KnownNode, RecordView } from '../../node/record-view.ts';

export interface End {
  readonly name: string;
  readonly node: KnownNode;
  /** Empty for a host: the route says which one is taken. */
  readonly addresses: readonly string[];
  readonly isHost: boolean;
}

/** Splits `B:port`, `[fd01::5]:port` or `B`. Throws 'invalid'. */
export function parseTarget(text: string): { readonly host: string; readonly port: number | undefined } {
  if (parseIp(text) !== undefined) return aimed(text, { host: text, port: undefined });
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::([0-9]{1,5}))?$/.exec(text) ?? [];
  const host = bracketed !== undefined && parseIp(bracketed)?.family !== 6 ? undefined : (bracketed ?? plain);
  const port = digits === undefined ? undefined : Number(digits);
  if (host !== undefined && (port === undefined || (port >= 1 && port <= 65_535)))
    return aimed(text, { host, port });
  throw new PortolanError('invalid', `Cannot trace to "${text}"`, {
    field: 'to',
    remedy: 'write NAME:PORT, ADDRESS:PORT or [IPV6]:PORT with a port from 1 to 65535',
  });
}

/** No address, any address, and those of many hosts: nobody is meant by them. */
const NOBODY = ['0.0.0.0/8', '224.0.0.0/4', '255.255.255.255/32', '::/128', 'ff00::/8'].map(prefix);

function aimed<Target extends { readonly host: string }>(text: string, target: Target): Target {
  const address = parseIp(target.host);
  if (address === undefined || !NOBODY.some((each) => each.contains(address))) return target;
  throw new PortolanError('invalid', `Cannot trace to "${text}": it is the address of no single host`, {
    field: 'to',
    remedy: 'give the address of a container, a host or a VIP',
  });
}

/** `resolve`: the address of what has a name and is no end. Throws 'not-found', or 'conflict' where several fit. */
export function findEnd<Resolved extends string = never>(
  records: Pick<RecordView, 'tasks' | 'nodes'>,
  field: 'from' | 'to',
  ref: string,
  resolve: (name: string) => Resolved | undefined = () => undefined,
): End | Resolved {
  const nodes = new Map(records.nodes().map((node) => [node.id, node]));
  const found = records.tasks().flatMap(({ id, node, task }): (End & { readonly id: string })[] => {
    const addresses = task.networks.flatMap((network) => network.addresses);
    const host = nodes.get(node);
    const names = [id, task.id, task.name, task.container ?? task.id, ...addresses];
    if (host === undefined || !names.includes(ref)) return [];
    return [{ id, name: task.name, node: host, addresses, isHost: false }];
  });
  const [first, second] = found;
  if (first !== undefined && second === undefined) return first;
  if (first !== undefined)
    throw new PortolanError('conflict', `Cannot choose "${ref}": ${found.length} containers have this name`, {
      field,
      remedy: `name one by its address or id: ${found
        .slice(0, 4)
        .map(({ addresses, id }) => addresses[0] ?? id)
        .join(', ')}`,
    });
  const host = Array.from(nodes.values()).find((node) => [node.id, node.name, node.address].includes(ref));
  if (host !== undefined) return { name: host.name, node: host, addresses: [], isHost: true };
  const resolved = resolve(ref);
  if (resolved !== undefined) return resolved;
  const vip =
    field === 'to'
      ? { what: ', host or VIP', list: ', "portolan node ls" and "portolan vip ls"' }
      : undefined;
  throw new PortolanError(
    'not-found',
    `Cannot find "${ref}": it is no container, task${vip?.what ?? ' or host'}`,
    {
      field,
      remedy: `list them with "portolan container ls", "portolan task ls"${vip?.list ?? ' and "portolan node ls"'}`,
    },
  );
}
