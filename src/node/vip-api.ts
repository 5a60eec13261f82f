/**
 * `GET /v1/vips` as DC/OS had it, and beside it what more there is to say of VIPs; the same on agents and masters.
 *
 * An agent adds what its kernel has counted, a master what the agents say of theirs.
 */
import type { Hono } from 'hono';
import { matchesEtag } from '../http/etag.ts';
import { PortolanError } from '../base/errors.ts';
import type { Vip } from '../vip/table.ts';
import { vipDetail, type VipView } from './vip-view.ts';

export const VIPS_PATH = '/v1/vips';
export const VIPS_ALL_PATH = '/v1/vips/all';
export const VIPS_INSPECT_PATH = '/v1/vips/inspect';

/** Of what can be no VIP's it is no use to say that there is none. */
function refuseUnreadable(ref: string): void {
  const [, digits] = /^(?:[^:]*|\[[^\]]*\]):([^:\]]*)$/.exec(ref) ?? [];
  const port = digits === undefined || /^[0-9]{1,5}$/.test(digits) ? Number(digits ?? 1) : 0;
  if (ref !== '' && port >= 1 && port <= 65_535) return;
  throw new PortolanError('invalid', `Cannot look for VIP "${ref}"`, {
    field: 'vip',
    remedy: 'write NAME, NAME:PORT, ADDRESS:PORT or [IPV6]:PORT with a port from 1 to 65535',
  });
}

export interface VipApiComponents {
  readonly view: VipView;
  /** More members of each, by its id. */
  readonly more: (vips: readonly Vip[], details: 'list' | 'inspect') => Promise<ReadonlyMap<string, object>>;
  /** More of all together. */
  readonly status?: () => object;
}

export function addVipRoutes(app: Hono, { view, more, status }: VipApiComponents): void {
  app.get(VIPS_PATH, (context) => {
    const { vips, etag } = view.listed();
    context.header('ETag', etag);
    const isKnown = matchesEtag(context.req.header('if-none-match'), etag);
    return isKnown ? context.body(null, 304) : context.json(vips);
  });
  const detailed = async (vips: readonly Vip[], details: 'list' | 'inspect'): Promise<object[]> => {
    const known = await more(vips, details);
    return vips.map((vip) => ({ ...vipDetail(vip), ...known.get(vip.id) }));
  };
  app.get(VIPS_ALL_PATH, async (context) =>
    context.json({
      vips: await detailed(view.vips(), 'list'),
      issues: view.issues(),
      ...(status === undefined ? {} : { status: status() }),
    }),
  );
  app.get(VIPS_INSPECT_PATH, async (context) => {
    const ref = context.req.query('vip') ?? '';
    refuseUnreadable(ref);
    const found = view.find(ref);
    if (found.length === 0)
      throw new PortolanError('not-found', `Cannot find VIP "${ref}"`, {
        field: 'vip',
        remedy: 'list the VIPs with "portolan vip ls"',
      });
    return context.json({ vips: await detailed(found, 'inspect') });
  });
}
