/**
 * The master's API of trust: joining, renewing, leaving, and the tokens for it (model/trust.ts).
 *
 * Invariants: a token is never taken over plain HTTP, nor made there; whoever was removed from the cluster is refused
 * whatever certificate it has.
 */
import type { Context, Hono } from 'hono';
import type { Clock } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import { LimitedLog } from '../base/limited-log.ts';
import type { Log } from '../base/log.ts';
import type { NodeId } from '../model/names.ts';
import {
  AUTHORITY_PATH,
  JOIN_PATH,
  LEAVE_PATH,
  RENEW_PATH,
  TOKENS_PATH,
  createTokens,
  joinRequest,
  renewRequest,
  type CertificateAnswer,
} from '../model/trust.ts';
import { parsePublicKey } from '../trust/keys.ts';
import { readJson } from './api.ts';
import type { Authority } from './authority.ts';
import { wasRemoved } from './refusals.ts';
import type { Registry } from './registry.ts';
import { certifiedSender, formerName, hostOf, withoutTls, type Door } from './senders.ts';
import type { Tokens } from './tokens.ts';

export interface TrustApiComponents {
  readonly authority: Authority;
  readonly tokens: Tokens;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
}

export function addTrustApi(app: Hono, components: TrustApiComponents, door: Door): void {
  const { authority } = components;
  app.get(AUTHORITY_PATH, (context) =>
    context.json({ cluster: authority.cluster, certificate: authority.certificate }),
  );
  if (door === 'public') refuseAll(app);
  else {
    addJoining(app, components, door);
    if (door === 'local') addTokens(app, components.tokens);
    else addMembership(app, components);
  }
}

function refuseAll(app: Hono): void {
  for (const path of [JOIN_PATH, RENEW_PATH, LEAVE_PATH])
    app.post(path, () => {
      throw withoutTls();
    });
  for (const path of [TOKENS_PATH, `${TOKENS_PATH}/:id`])
    app.all(path, () => {
      throw new PortolanError('forbidden', 'Cannot manage join tokens over the network', {
        remedy: 'use the master\'s own socket: run "portolan token" on the master\'s host',
      });
    });
}

function addJoining(app: Hono, components: TrustApiComponents, door: Door): void {
  const { authority, registry, log, clock } = components;
  const refusals = new LimitedLog({ clock, log });
  app.post(JOIN_PATH, async (context) => {
    try {
      const request = joinRequest.parse(await readJson(context.req));
      if (request.token === undefined && door !== 'local') throw withoutToken();
      const former = formerAgent(components, context);
      const node = await authority.join(request, former === undefined ? {} : { former });
      mustBePresent(registry, node);
      return context.json(answer(components, node, request.public_key));
    } catch (error) {
      const host = hostOf(context);
      const reason = (error as Error).message;
      refusals.warn(`${host} ${reason}`, 'refused to let a host join', { host, reason });
      throw error;
    }
  });
}

/** A node whose certificate has run out, or which wants a fresh start, keeps its id. */
function formerAgent({ registry }: TrustApiComponents, context: Context): NodeId | undefined {
  const former = formerName(context);
  if (former?.role !== 'agent') return undefined;
  return registry.ledger.removal(former.node) === undefined ? former.node : undefined;
}

function addMembership(app: Hono, components: TrustApiComponents): void {
  const { authority, registry, log } = components;
  app.post(RENEW_PATH, async (context) => {
    const { node, role } = certifiedSender(context);
    if (role !== 'agent') throw onlyAgents();
    const request = renewRequest.parse(await readJson(context.req));
    mustBePresent(registry, node);
    authority.checkRenewal(request, node);
    log.info('Renewed the certificate of a node', { node });
    return context.json(answer(components, node, request.public_key));
  });
  app.post(LEAVE_PATH, async (context) => {
    const { node } = certifiedSender(context);
    log.info('A node leaves the cluster', { node });
    await registry.remove([node]);
    return context.json({ node });
  });
}

function addTokens(app: Hono, tokens: Tokens): void {
  app.post(TOKENS_PATH, async (context) => {
    const text = await context.req.text();
    const made = await tokens.create(
      createTokens.parse(text === '' ? {} : await readJson({ text: () => Promise.resolve(text) })),
    );
    return context.json({ tokens: made }, 201);
  });
  app.get(TOKENS_PATH, async (context) => context.json({ tokens: await tokens.list() }));
  app.delete(`${TOKENS_PATH}/:id`, async (context) =>
    context.json(await tokens.remove(context.req.param('id'))),
  );
}

function answer({ authority, registry }: TrustApiComponents, node: NodeId, key: string): CertificateAnswer {
  return {
    certificate: authority.issue(node, 'agent', parsePublicKey(key)),
    authority: authority.certificate,
    masters: [...registry.masters],
  };
}

function mustBePresent(registry: Registry, node: NodeId): void {
  const removal = registry.ledger.removal(node);
  if (removal !== undefined) throw wasRemoved(removal);
}

function withoutToken(): PortolanError {
  return new PortolanError('forbidden', 'Cannot join without a token', {
    field: 'token',
    remedy: 'make one with "portolan token create" on a master',
  });
}

function onlyAgents(): PortolanError {
  return new PortolanError('forbidden', "Cannot renew this certificate: it is a master's", {
    remedy: 'a master makes its own',
  });
}
