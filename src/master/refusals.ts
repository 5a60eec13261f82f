/** What a master says when it cannot give or cannot start: each with the remedy. */
import { PortolanError } from '../base/errors.ts';
import type { Misfit, Shortage } from '../ipam/blocks.ts';
import type { NodeId } from '../model/names.ts';
import type { NetworkSpace } from '../model/network-space.ts';
import type { Removal, NodeEntry } from './stored.ts';

const MAX_NAMED = 5;

export function noVtepLeft(network: NetworkSpace, shortages: readonly Shortage[]): PortolanError {
  const six = shortages.some(({ family, overlay }) => family === 6 && overlay === undefined);
  const field = six ? 'network.vtep_subnet6' : 'network.vtep_subnet';
  const space = six ? network.vtep6 : network.vtep;
  return new PortolanError('exhausted', `Cannot register: no VTEP address is left in ${String(space)}`, {
    field,
    remedy: 'remove nodes that are gone with "portolan node rm"',
    details: { shortages },
  });
}

export function wasRemoved(removal: Removal): PortolanError {
  return new PortolanError(
    'forbidden',
    `Cannot register: node "${removal.node}" was removed from the cluster`,
    {
      field: 'node',
      remedy: 'take a new identity; its addresses may belong to another node by now',
      details: { removed: true, grant_epoch: removal.grant_epoch },
    },
  );
}

export function wrongCluster(asked: string, own: string): PortolanError {
  return new PortolanError(
    'forbidden',
    `Cannot register: the node is of cluster "${asked}", this is "${own}"`,
    {
      field: 'cluster',
      remedy: "correct the node's masters, or wipe its state directory so that it joins this cluster anew",
      details: { cluster: own },
    },
  );
}

export function recovering(): PortolanError {
  return new PortolanError('unavailable', 'Cannot answer: the master is recovering from its store', {
    remedy: 'try again in a second',
  });
}

/** Stored grants that the configuration no longer has room for, by overlay, with their holders. */
export function configurationChanged(
  misfits: readonly { readonly entry: NodeEntry; readonly misfit: Misfit }[],
): PortolanError {
  const taken = misfits.find(({ misfit }) => misfit.reason === 'taken');
  if (taken !== undefined) return doublyHeld(taken.entry, taken.misfit);
  const first = misfits[0]?.misfit;
  const overlay = first?.overlay;
  const same = misfits.filter(({ misfit }) => misfit.overlay === overlay);
  const holders = same.map(({ entry, misfit }) => `${entry.name} (${entry.address}, ${misfit.what})`);
  const what = overlay === undefined ? 'the VTEP network' : `overlay "${overlay}"`;
  const how = first?.reason === 'vanished' ? 'is gone from' : 'has changed in';
  return new PortolanError(
    'invalid',
    `Cannot start: ${what} ${how} the configuration while nodes hold addresses of it: ${list(holders)}`,
    {
      field: overlay === undefined ? 'network.vtep_subnet' : 'network.overlays',
      remedy:
        'put it back as it was; to be rid of it, start with the old configuration and remove these nodes first ' +
        '("portolan node rm")',
      details: { overlay, nodes: same.map(({ entry }) => entry.node) },
    },
  );
}

function list(names: readonly string[]): string {
  const more = names.length - MAX_NAMED;
  return names.slice(0, MAX_NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function doublyHeld(entry: NodeEntry, { what }: Misfit): PortolanError {
  return new PortolanError(
    'corrupt',
    `Cannot start: node "${entry.node}" and another one both hold ${what}`,
    {
      field: `nodes/${entry.node}`,
      remedy: 'restore the state directory from a backup',
    },
  );
}

export function notRegistered(node: NodeId): PortolanError {
  return new PortolanError('not-found', `Cannot take the report of node "${node}": it is not registered`, {
    field: 'node',
    remedy: 'register first',
  });
}

export function fromFile(name: string): PortolanError {
  return new PortolanError('conflict', `Cannot remove overlay "${name}": the configuration file has it`, {
    field: 'name',
    remedy: "remove it from the master's configuration file and restart the master",
  });
}

export function noSuchOverlay(name: string): PortolanError {
  return new PortolanError('not-found', `Cannot find overlay "${name}"`, {
    field: 'name',
    remedy: 'list them with "portolan network ls"',
  });
}

export function stillHeld(name: string, count: number): PortolanError {
  return new PortolanError('conflict', `Cannot remove overlay "${name}": ${count} nodes hold blocks of it`, {
    field: 'name',
    remedy: 'remove these nodes first ("portolan network inspect" names them)',
  });
}
