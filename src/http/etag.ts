/** Whether a client has what it asks for already (RFC 9110, 13.1.2). */

/** One entity tag, weak or not (RFC 9110, 8.8.3). */
const TAG = /^(?:W\/)?("[^"]*")$/;

/** `*`, or a list that has the tag; compared weakly, as for GET. What is no tag matches nothing. */
export function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === '*') return true;
  const wanted = TAG.exec(etag)?.[1];
  // A tag may hold a comma.
  const tags = ifNoneMatch.match(/(?:W\/)?"[^"]*"|[^,]+/g) ?? [];
  return tags.some((tag) => wanted !== undefined && TAG.exec(tag.trim())?.[1] === wanted);
}
