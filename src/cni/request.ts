/**
 * One call of the plug-in, checked: which verb, for whom, with what (CNI specification 1.1, section 2).
 *
 * Purpose of this folder: everything about the CNI protocol that is a matter of values. What the verbs do is the
 * agent's; the executable that a runtime starts (`portolan-cni.c`, `portolan-cni.sh`) only carries bytes.
 * Invariants: every refusal is a `CniError` with the code the specification gives it; nothing here waits or reads files.
 * Review notes: a new verb needs its required variables and its first version here, and its answer in the executables.
 */
import {
  macOf,
  parseConfig,
  parseConfigOfDel,
  NAME_PATTERN,
  requestedAddress,
  type PluginConfig,
} from './config.ts';
import { CniError, cniCodes } from './errors.ts';
import { atLeast, type CniVersion } from './versions.ts';

export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS' | 'VERSION';

export interface CniRequest {
  readonly command: CniCommand;
  readonly container: string;
  readonly ifname: string;
  /** Empty when the runtime gave none (DEL after the namespace is gone). */
  readonly netns: string;
  /** Human name of the container, where the runtime says one. */
  readonly containerName: string | undefined;
  readonly config: PluginConfig;
}

type Variable = 'CNI_CONTAINERID' | 'CNI_NETNS' | 'CNI_IFNAME' | 'CNI_PATH';
interface Verb {
  readonly required: readonly Variable[];
  readonly since: CniVersion;
}

const verbs: Readonly<Record<CniCommand, Verb>> = {
  ADD: { required: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'], since: '0.1.0' },
  DEL: { required: ['CNI_CONTAINERID', 'CNI_IFNAME'], since: '0.1.0' },
  CHECK: { required: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'], since: '0.4.0' },
  GC: { required: ['CNI_PATH'], since: '1.1.0' },
  STATUS: { required: [], since: '1.1.0' },
  VERSION: { required: [], since: '0.1.0' },
};

const environmentError = (message: string): CniError => new CniError(cniCodes.invalidEnvironment, message);

export function parseRequest(environment: Readonly<Record<string, string>>, stdin: string): CniRequest {
  const command = commandOf(environment['CNI_COMMAND'] ?? '');
  const verb = verbs[command];
  checkEnvironment(verb, environment);
  const args = command === 'DEL' ? new Map<string, string>() : parseArgs(environment['CNI_ARGS'] ?? '');
  const config = command === 'DEL' ? parseConfigOfDel(stdin) : withArgs(parseConfig(stdin), args);
  if (!atLeast(config.version, verb.since))
    throw new CniError(
      cniCodes.incompatibleVersion,
      `CNI version "${config.version}" has no ${command}`,
      `${command} exists since ${verb.since}`,
    );
  return {
    command,
    container: environment['CNI_CONTAINERID'] ?? '',
    ifname: environment['CNI_IFNAME'] ?? '',
    netns: environment['CNI_NETNS'] ?? '',
    containerName: args.get('K8S_POD_NAME'),
    config,
  };
}

export function commandOf(value: string): CniCommand {
  if (value === '') throw environmentError('Required environment variable CNI_COMMAND is not set');
  if (!Object.hasOwn(verbs, value))
    throw environmentError(
      `CNI_COMMAND "${value}" is unknown: it is one of ${Object.keys(verbs).join(', ')}`,
    );
  return value as CniCommand;
}

function checkEnvironment(verb: Verb, environment: Readonly<Record<string, string>>): void {
  const missing = verb.required.filter((name) => (environment[name] ?? '') === '');
  if (missing.length > 0)
    throw environmentError(`Required environment variables are not set: ${missing.join(', ')}`);
  for (const name of verb.required) checkVariable(name, environment[name] ?? '');
}

function checkVariable(name: Variable, value: string): void {
  if (name === 'CNI_CONTAINERID' && !(NAME_PATTERN.test(value) && value.length <= 255))
    throw environmentError(`CNI_CONTAINERID "${value}" must match ${NAME_PATTERN.source}`);
  if (name === 'CNI_IFNAME' && !isInterfaceName(value))
    throw environmentError(`CNI_IFNAME "${value}" cannot be the name of an interface`);
  if (name === 'CNI_NETNS' && !value.startsWith('/'))
    throw environmentError(`CNI_NETNS "${value}" is not an absolute path`);
}

/** The kernel's own rule (`dev_valid_name`), which the specification repeats. */
function isInterfaceName(name: string): boolean {
  return name.length > 0 && name.length < 16 && name !== '.' && name !== '..' && !/[/:\s]/.test(name);
}

/** `CNI_ARGS`: "K=V;K2=V2". Keys that we do not know are other plug-ins'. */
export function parseArgs(value: string): ReadonlyMap<string, string> {
  const args = new Map<string, string>();
  for (const pair of value.split(';').filter((part) => part !== '')) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw environmentError(`CNI_ARGS holds "${pair}", which is not KEY=VALUE`);
    args.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  return args;
}

/** CNI_ARGS is the older way (CONVENTIONS.md): what the configuration asks for goes first. */
function withArgs(config: PluginConfig, args: ReadonlyMap<string, string>): PluginConfig {
  const wanted = args.get('IP');
  const mac = args.get('MAC');
  return {
    ...config,
    addresses:
      config.addresses.length > 0 || wanted === undefined
        ? config.addresses
        : wanted.split(',').map((address) => requestedAddress('CNI_ARGS IP', address)),
    mac: config.mac ?? (mac === undefined ? undefined : macOf(mac)),
  };
}
