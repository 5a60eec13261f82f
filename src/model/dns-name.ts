/**
 * How free text becomes part of a DNS name (reference "VIPs and DNS", section 3).
 *
 * The same rules on every node: a name is computed wherever it is needed, never agreed upon.
 */

/** RFC 1035, section 2.3.4: octets of one label. */
const MAX_LABEL = 63;

/** A VIP's host or a framework as labels: each part between dots is cleaned, empty parts vanish. May be empty. */
export function fragment(text: string): string {
  if (PLAIN.test(text)) return cut(text);
  return text
    .split('.')
    .map((part) => clean(part))
    .filter((part) => part !== '')
    .join('.');
}

/** A task's name as one label: dots become dashes. May be empty. */
export function label(text: string): string {
  return clean(text.replaceAll('.', '-'));
}

/** Most text is like this, and there are thousands of names: nothing has to be replaced in it. */
const PLAIN = /^[a-z0-9][a-z0-9-]*$/;

function clean(text: string): string {
  if (PLAIN.test(text)) return cut(text);
  return cut(
    text
      .toLowerCase()
      .replaceAll('_', '-')
      .replaceAll(/[^a-z0-9-]/g, '')
      .replace(/^-+/, ''),
  );
}

function cut(text: string): string {
  const part = text.length > MAX_LABEL ? text.slice(0, MAX_LABEL) : text;
  return part.endsWith('-') ? part.replace(/-+$/, '') : part;
}
