/** What VIPs must know of the cluster's networks, from the grant and the records: the same object until it changes. */
import { hostAddresses, overlaySpaces } from '../node/vip-reserved.ts';
import type { RecordView } from '../node/record-view.ts';
import type { GrantKeeper } from './grant-keeper.ts';
import type { VipSurroundings } from './vips.ts';

export function vipSurroundings(components: {
  readonly grants: Pick<GrantKeeper, 'current'>;
  readonly records: RecordView;
}): () => VipSurroundings {
  const { grants, records } = components;
  let known: VipSurroundings | undefined;
  let of: readonly unknown[] = [];
  return () => {
    const now = [grants.current(), records.placesVersion];
    if (known === undefined || now.some((each, at) => each !== of[at])) known = surroundings(components);
    of = now;
    return known;
  };
}

function surroundings({ grants, records }: Parameters<typeof vipSurroundings>[0]): VipSurroundings {
  const granted = grants.current()?.overlays ?? [];
  const own = granted.map(({ info }) => ({ name: info.name, spaces: [info.subnet, info.subnet6] }));
  const spaces = granted.length === 0 ? [] : overlaySpaces(records, own);
  return {
    overlays: spaces.map((space) => space.prefix),
    reserved: [...spaces, ...hostAddresses(records)],
  };
}
