/**
 * The route table: what each path of an API takes and does, written once. Requests are matched, their query and body
 * checked, and `/v1/openapi.json` described from it.
 *
 * `{name}` is one segment of a path, `{name+}` one or more: ids of apps and groups hold slashes.
 */
import type { ServerResponse } from 'node:http';
import { z } from 'zod';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface Call<Query, Body> {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
  readonly request: CallRequest;
}

export interface CallRequest {
  /** Path and query, as sent. */
  readonly uri: string;
  readonly accept: string;
  /** The sender's address; empty where there is none. */
  readonly remote: string;
  /** The connection to answer on, for answers that do not end. */
  readonly outgoing: ServerResponse | undefined;
}

export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** JSON that is text already. */
  readonly raw?: string;
  readonly text?: string;
  /** The handler has taken the connection over. */
  readonly isSent?: boolean;
}

export interface Route {
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** By status: what the answer is. */
  readonly answers: Readonly<Record<number, string>>;
  readonly handle: (call: Call<never, never>) => Reply | Promise<Reply>;
}

/** Ties a handler to the schemas that it gets its query and body by. */
export function route<Query extends z.ZodObject = z.ZodObject, Body extends z.ZodType = z.ZodType>(init: {
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly query?: Query;
  readonly body?: Body;
  readonly answers: Readonly<Record<number, string>>;
  readonly handle: (call: Call<z.infer<Query>, z.infer<Body>>) => Reply | Promise<Reply>;
}): Route {
  return init as unknown as Route;
}

interface Compiled {
  readonly route: Route;
  readonly pattern: RegExp;
}

export interface Match {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

export class RouteTable {
  readonly routes: readonly Route[];
  readonly #compiled: readonly Compiled[];

  /** Of two routes that fit a path the earlier one is taken. */
  constructor(routes: readonly Route[]) {
    this.routes = routes;
    this.#compiled = routes.map((each) => ({ route: each, pattern: compile(each.path) }));
  }

  /** The methods that the path has instead, when it lacks this one; `undefined` = no such path. */
  match(method: string, path: string): Match | { readonly allowed: readonly Method[] } | undefined {
    const allowed = new Set<Method>();
    for (const { route: each, pattern } of this.#compiled) {
      const found = pattern.exec(path);
      if (found === null) continue;
      if (each.method === method) return { route: each, params: decoded(found.groups ?? {}) };
      allowed.add(each.method);
    }
    return allowed.size === 0 ? undefined : { allowed: [...allowed] };
  }
}

function compile(path: string): RegExp {
  const source = path.replaceAll(
    /\{([a-z]+)(\+?)\}|[.*+?^$()|[\]\\]/gi,
    (all, name?: string, many?: string) => {
      if (name === undefined) return `\\${all}`;
      return many === '+' ? `(?<${name}>.+)` : `(?<${name}>[^/]+)`;
    },
  );
  return new RegExp(`^${source}/?$`);
}

function decoded(groups: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(groups).map(([name, text]) => [name, decodeText(text)]));
}

/** A path with a stray percent sign is taken as it is. */
function decodeText(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

/** `true` and `false`, in any case: Python's clients write `True`. The mere name counts as true. */
export const flag = z
  .string()
  .regex(/^(true|false|)$/i, 'must be true or false')
  .transform((text) => text.toLowerCase() !== 'false');
/** A query that may be given once or several times. */
export const many = z.union([z.string().transform((one) => [one]), z.array(z.string())]);

/** The query as an object: what is given several times is a list. */
export function queryOf(search: URLSearchParams): Record<string, string | string[]> {
  const names = new Set(search.keys());
  return Object.fromEntries(
    Array.from(names, (name) => {
      const values = search.getAll(name);
      return [name, values.length === 1 ? (values[0] ?? '') : values];
    }),
  );
}
