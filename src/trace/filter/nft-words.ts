/** nft's JSON in words that are close to nft's own, for what people are told. */
import { z } from 'zod';

const object = z.record(z.string(), z.unknown());
const payload = z.object({ protocol: z.string(), field: z.string() });
const keyed = z.object({ key: z.string() });
const fib = z.object({ result: z.string(), flags: z.union([z.string(), z.array(z.string())]) });
const match = z.object({ op: z.string(), left: z.unknown(), right: z.unknown() });
const extension = z.object({ name: z.string() });
const rate = z.object({ rate: z.number(), per: z.string() });
/** What is longer is cut: a verdict map may have thousands of elements. */
const MAX_WORDS = 80;

/** `ct zone 5`, `limit rate 5/second`, `xt string` */
export function statementWords(kind: string, value: unknown): string {
  return cut(statement(kind, value));
}

function statement(kind: string, value: unknown): string {
  const compared = kind === 'match' ? match.safeParse(value).data : undefined;
  if (compared !== undefined) {
    const op = ['==', 'in'].includes(compared.op) ? '' : `${compared.op} `;
    return `${expressionWords(compared.left)} ${op}${valueWords(compared.right)}`;
  }
  const limit = kind === 'limit' ? rate.safeParse(value).data : undefined;
  if (limit !== undefined) return `limit rate ${limit.rate}/${limit.per}`;
  const named = kind === 'xt' ? extension.safeParse(value).data : undefined;
  return named === undefined ? kind : `xt ${named.name}`;
}

/** `meta mark & 255`, `ip saddr . tcp dport`: also what `readField` knows single fields by. */
export function expressionWords(value: unknown): string {
  const [entry] = Object.entries(object.safeParse(value).data ?? {});
  if (entry === undefined) return valueWords(value);
  const [kind, inner] = entry;
  if (kind === 'payload') {
    const { data } = payload.safeParse(inner);
    return data === undefined ? 'payload' : `${data.protocol} ${data.field}`;
  }
  if (kind === 'fib') {
    const { data } = fib.safeParse(inner);
    return data === undefined ? 'fib' : `fib ${[data.flags].flat().join(' . ')} ${data.result}`;
  }
  if (Array.isArray(inner)) return inner.map(expressionWords).join(kind === 'concat' ? ' . ' : ` ${kind} `);
  const { data } = keyed.safeParse(inner);
  return data === undefined ? kind : `${kind} ${data.key}`;
}

function valueWords(value: unknown): string {
  if (Array.isArray(value)) return value.map(valueWords).join(',');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const cut = (text: string): string => (text.length > MAX_WORDS ? `${text.slice(0, MAX_WORDS)}...` : text);
