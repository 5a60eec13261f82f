/** OpenAPI 3.1, derived from the route table and its schemas. */
import { z } from 'zod';
import type { Route } from './routes.ts';

export function openApi(routes: readonly Route[], version: string): Readonly<Record<string, unknown>> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll('+}', '}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Portolan', description: 'Apps, groups, tasks, deployments and state', version },
    paths,
  };
}

function operation(route: Route): Readonly<Record<string, unknown>> {
  const inPath = Array.from(route.path.matchAll(/\{([a-z]+)(\+?)\}/gi), ([, name, many]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
    ...(many === '+' ? { description: 'May hold slashes' } : {}),
  }));
  const inQuery = Object.entries(route.query?.shape ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    required: false,
    schema: jsonSchema(schema as z.ZodType),
  }));
  const parameters = [...inPath, ...inQuery];
  return {
    summary: route.summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: jsonSchema(route.body) } },
          },
        }),
    responses: Object.fromEntries(
      Object.entries(route.answers).map(([status, description]) => [status, { description }]),
    ),
  };
}

/** As a client sends it: defaults may be left out. */
function jsonSchema(schema: z.ZodType): unknown {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return rest;
}
