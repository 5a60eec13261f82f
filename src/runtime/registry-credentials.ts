/**
 * Who a task is to a registry: the `config.json` of Docker that it fetches into its sandbox, as Marathon's users do
 * ("Using a private Docker registry": `docker.tar.gz` with `.docker/config.json` among the app's `fetch`).
 */
import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import { registryOf } from './image-name.ts';

const FILE = join('.docker', 'config.json');
const HUB_KEYS = ['https://index.docker.io/v1/', 'index.docker.io', 'docker.io'];

const entry = z.looseObject({ auth: z.string().optional(), identitytoken: z.string().optional() });
const configFile = z.looseObject({ auths: z.record(z.string(), entry).default({}) });

/** Where the sandbox has one. A link that leads out of the sandbox is none: it would be read in the host's name. */
export async function credentialsIn(sandbox: string): Promise<string | undefined> {
  const path = join(sandbox, FILE);
  const real = await realpath(path).catch(() => undefined);
  return real !== undefined && real === join(await realpath(sandbox), FILE) ? path : undefined;
}

/** What Docker's API takes as `X-Registry-Auth`; `undefined` = nothing is said of the image's registry. */
export async function registryAuth(path: string, image: string): Promise<string | undefined> {
  const auths = parseConfig(await readFile(path, 'utf8'));
  const registry = registryOf(image);
  const keys = registry === 'docker.io' ? HUB_KEYS : [registry, `https://${registry}`, `http://${registry}`];
  const key = keys.flatMap((each) => [each, `${each}/`]).find((each) => auths[each] !== undefined);
  const found = key === undefined ? undefined : auths[key];
  if (found === undefined) return undefined;
  const said = Buffer.from(found.auth ?? '', 'base64').toString('utf8');
  const colon = said.indexOf(':');
  const who = {
    ...{ username: said.slice(0, colon), password: said.slice(colon + 1), serveraddress: registry },
    ...(found.identitytoken === undefined ? {} : { identitytoken: found.identitytoken }),
  };
  // For URLs, but with padding: its daemon takes nothing else.
  return Buffer.from(JSON.stringify(who)).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}

function parseConfig(text: string): z.output<typeof configFile>['auths'] {
  try {
    return configFile.parse(JSON.parse(text)).auths;
  } catch (cause) {
    throw new PortolanError(
      'invalid',
      `Cannot read ".docker/config.json" in the sandbox: it is no such file`,
      {
        field: 'fetch',
        remedy: 'give the file that "docker login" writes',
        cause,
      },
    );
  }
}
