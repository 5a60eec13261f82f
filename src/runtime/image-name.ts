/** Names of images in registries, as Docker reads them (distribution/reference): `[host[:port]/]path[:tag][@digest]`. */

/** What Docker calls its own registry, also in `config.json`. */
const DOCKER_HUB = 'docker.io';

/** The first part is a registry where it could not be part of a path on Docker's own. */
export function registryOf(name: string): string {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  return /[.:]/.test(first) || first === 'localhost' ? first : DOCKER_HUB;
}

/** A tag, or a digest; without either it is the tag `latest`. */
export function splitName(name: string): { readonly repository: string; readonly tag: string } {
  const digest = name.indexOf('@');
  if (digest >= 0) return { repository: name.slice(0, digest), tag: name.slice(digest + 1) };
  const colon = name.lastIndexOf(':');
  if (colon > name.lastIndexOf('/')) return { repository: name.slice(0, colon), tag: name.slice(colon + 1) };
  return { repository: name, tag: 'latest' };
}

/** Docker trusts 127.0.0.0/8 without TLS. */
export function isLoopbackRegistry(name: string): boolean {
  return /^(127\.[0-9.]+|localhost|\[::1\])(:[0-9]+)?$/.test(registryOf(name));
}
