/** Which message an operation that is packed with others becomes, and on which link. */
import { unreachable } from '../../base/assert.ts';
import type { KernelOperation } from '../types.ts';
import type { MessageWriter } from './message.ts';
import { encodeAddress } from './rtnetlink/address.ts';
import { encodeFdb } from './rtnetlink/fdb.ts';
import { encodeLinkSet, hasLinkChange } from './rtnetlink/link.ts';
import { encodeNeighbour } from './rtnetlink/neighbour.ts';
import { encodeRoute } from './rtnetlink/route.ts';
import { encodeRule } from './rtnetlink/rule.ts';

export type LinkSet = Extract<KernelOperation, { do: 'link-set' }>;
/** Those that go out many to a send. */
export type PackedOperation = Exclude<KernelOperation, { do: `link-${string}` }> | LinkSet;

/** True for a change of a link that is one message, refers to no other link and leaves it its name. */
export function isPacked({ settings }: LinkSet): boolean {
  const others = [settings.master, settings.addAltName, settings.hairpin, settings.rename];
  return hasLinkChange(settings) && others.every((other) => other === undefined);
}

export function linkOf(operation: PackedOperation): string | undefined {
  switch (operation.do) {
    case 'link-set':
      return operation.name;
    case 'address-replace':
    case 'address-delete':
      return operation.address.link;
    case 'route-replace':
    case 'route-delete':
      return operation.route.link;
    case 'rule-add':
    case 'rule-delete':
      return undefined;
    case 'neighbour-replace':
    case 'neighbour-delete':
      return operation.neighbour.link;
    case 'fdb-replace':
    case 'fdb-delete':
      return operation.entry.link;
    default:
      return unreachable(operation);
  }
}

export function encodeOperation(
  writer: MessageWriter,
  sequence: number,
  operation: PackedOperation,
  linkIndex: number,
): void {
  switch (operation.do) {
    case 'link-set':
      return encodeLinkSet(writer, sequence, linkIndex, operation.settings, {});
    case 'address-replace':
      return encodeAddress(writer, sequence, 'replace', operation.address.address, linkIndex);
    case 'address-delete':
      return encodeAddress(writer, sequence, 'delete', operation.address.address, linkIndex);
    case 'route-replace':
      return encodeRoute(writer, sequence, 'replace', operation.route, linkIndex);
    case 'route-delete':
      return encodeRoute(writer, sequence, 'delete', operation.route, linkIndex);
    case 'rule-add':
      return encodeRule(writer, sequence, 'add', operation.rule);
    case 'rule-delete':
      return encodeRule(writer, sequence, 'delete', operation.rule);
    case 'neighbour-replace':
      return encodeNeighbour(writer, sequence, 'replace', operation.neighbour, linkIndex);
    case 'neighbour-delete':
      return encodeNeighbour(writer, sequence, 'delete', operation.neighbour, linkIndex);
    case 'fdb-replace':
      return encodeFdb(writer, sequence, 'replace', operation.entry, linkIndex);
    case 'fdb-delete':
      return encodeFdb(writer, sequence, 'delete', operation.entry, linkIndex);
    default:
      return unreachable(operation);
  }
}
