/** Files with definitions of apps and groups: JSON or YAML; what is in them decides where they are sent. */
import { readFileSync } from 'node:fs';
import { absoluteId } from '../apps/ids.ts';
import { PortolanError } from '../base/errors.ts';
import { parseYaml } from '../model/yaml-text.ts';
import { appPath, type MarathonCall } from './marathon.ts';

export interface Definition {
  readonly call: MarathonCall;
  /** Absolute ids of the apps in it. */
  readonly apps: readonly string[];
}

/** `-` is standard input. Throws 'invalid'. */
export function readDefinition(file: string, { force }: { readonly force: boolean }): Definition {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new PortolanError('invalid', `Cannot read ${file}: ${(error as Error).message}`, {
      field: 'file',
      remedy: 'name a file with an app, a list of apps or a group, or - for standard input',
    });
  }
  return definitionOf(parsed(text, file), { file, query: `?force=${String(force)}` });
}

function parsed(text: string, file: string): unknown {
  const read = parseYaml(text);
  if ('value' in read) return read.value;
  throw new PortolanError('invalid', `Cannot read ${file}: ${read.problem}`, {
    field: 'file',
    remedy: 'correct the JSON or YAML there',
  });
}

interface Node {
  readonly id?: unknown;
  readonly apps?: unknown;
  readonly groups?: unknown;
}

export function definitionOf(
  body: unknown,
  { file, query }: { readonly file: string; readonly query: string },
): Definition {
  if (typeof body !== 'object' || body === null || (Array.isArray(body) && body.length === 0))
    throw new PortolanError('invalid', `Cannot apply ${file}: there is no app in it`, {
      field: 'file',
      remedy: 'write an app, a list of apps or a group, as JSON or YAML',
    });
  if (Array.isArray(body))
    return {
      call: { method: 'PUT', path: `/v2/apps${query}`, body },
      apps: body.map((app: Node | null) => idOf(app ?? {}, file)),
    };
  const node = body as Node;
  if (node.apps === undefined && node.groups === undefined) {
    const id = idOf(node, file);
    return { call: { method: 'PUT', path: `/v2/apps${appPath(id)}${query}`, body }, apps: [id] };
  }
  const id = node.id === undefined ? '/' : idOf(node, file);
  const path = id === '/' ? '/v2/groups' : `/v2/groups${appPath(id)}`;
  return { call: { method: 'PUT', path: path + query, body }, apps: appsIn(node, id) };
}

function idOf({ id }: Node, file: string): string {
  if (typeof id === 'string' && id !== '') return absoluteId(id);
  throw new PortolanError('invalid', `Cannot apply ${file}: an app in it has no id`, {
    field: 'id',
    remedy: 'give each app an id such as /web',
  });
}

function appsIn(group: Node, base: string): string[] {
  const list = (value: unknown): Node[] => (Array.isArray(value) ? (value as Node[]) : []);
  const idIn = ({ id }: Node): string => absoluteId(typeof id === 'string' ? id : '', base);
  return [
    ...list(group.apps).map(idIn),
    ...list(group.groups).flatMap((child) => appsIn(child, idIn(child))),
  ];
}
