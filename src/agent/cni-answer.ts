/** One request of the plug-in to its answer: the verbs, and every error as the specification's error object. */
import { describeError, isPortolanError } from '../base/errors.ts';
import { unreachable } from '../base/assert.ts';
import { askedVersion } from '../cni/config.ts';
import { CniError, cniCodes, encodeError } from '../cni/errors.ts';
import { parseRequest, type CniRequest } from '../cni/request.ts';
import { encodeResult, type CniResult } from '../cni/result.ts';
import { versionAnswer } from '../cni/versions.ts';
import { decodeWireRequest, type WireAnswer } from '../cni/wire.ts';
import { KernelError } from '../kernel/types.ts';

/** What the verbs do; `Attachments` is the one that does. */
export interface CniVerbs {
  add(request: CniRequest): Promise<CniResult>;
  del(request: CniRequest): Promise<void>;
  check(request: CniRequest): Promise<void>;
  gc(request: CniRequest): Promise<void>;
  status(network: string): Promise<void>;
}

export interface Answered extends WireAnswer {
  readonly command: string;
  readonly container: string;
  /** 0 = success. */
  readonly code: number;
  readonly message: string;
}

/** Never rejects: what goes wrong is in the answer. */
export async function answerRequest(verbs: CniVerbs, text: string): Promise<Answered> {
  let command = '';
  let container = '';
  let cniVersion = '0.1.0';
  try {
    const { environment, stdin } = decodeWireRequest(text);
    command = environment['CNI_COMMAND'] ?? '';
    container = environment['CNI_CONTAINERID'] ?? '';
    cniVersion = askedVersion(stdin);
    const stdout = await perform(verbs, environment, stdin);
    return { command, container, code: 0, message: '', exitCode: 0, stdout };
  } catch (error) {
    const refusal = toCniError(error);
    const stdout = `${encodeError(refusal, cniVersion)}\n`;
    return { command, container, code: refusal.code, message: refusal.message, exitCode: 1, stdout };
  }
}

async function perform(
  verbs: CniVerbs,
  environment: Readonly<Record<string, string>>,
  stdin: string,
): Promise<string> {
  // VERSION must answer whatever the configuration holds.
  if (environment['CNI_COMMAND'] === 'VERSION')
    return `${JSON.stringify(versionAnswer(askedVersion(stdin)))}\n`;
  const request = parseRequest(environment, stdin);
  switch (request.command) {
    case 'ADD':
      return `${encodeResult(await verbs.add(request), request.config.version)}\n`;
    case 'DEL':
      await verbs.del(request);
      return '';
    case 'CHECK':
      await verbs.check(request);
      return '';
    case 'GC':
      await verbs.gc(request);
      return '';
    case 'STATUS':
      await verbs.status(request.config.name);
      return '';
    case 'VERSION':
      return '';
    default:
      return unreachable(request.command);
  }
}

export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  if (error instanceof KernelError) return new CniError(cniCodes.ioFailure, error.message);
  if (isPortolanError(error, 'unavailable'))
    return new CniError(cniCodes.tryAgainLater, error.message, error.remedy);
  return new CniError(cniCodes.internal, describeError(error));
}
