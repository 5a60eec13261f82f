/**
 * What the plug-in's executable and the agent say to one another over the unix socket.
 *
 * Request: `KEY=VALUE` lines with the `CNI_` variables, an empty line, the configuration from standard input; then the
 * client closes its half. Answer: the exit code in decimal on the first line, then what standard output gets.
 * The same client serves all versions of the agent, so this format does not change.
 */
import { CniError, cniCodes } from './errors.ts';

/** Largest request and answer; the executable enforces the same bound. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;

export interface WireRequest {
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: string;
}

export function decodeWireRequest(text: string): WireRequest {
  const end = text.indexOf('\n\n');
  if (end < 0) throw new CniError(cniCodes.ioFailure, 'The request to the agent ends before its empty line');
  const environment: Record<string, string> = {};
  for (const line of text.slice(0, end).split('\n')) {
    const equals = line.indexOf('=');
    if (equals > 0) environment[line.slice(0, equals)] = line.slice(equals + 1);
  }
  return { environment, stdin: text.slice(end + 2) };
}

export function encodeWireRequest(request: WireRequest): string {
  const lines = Object.entries(request.environment).map(([key, value]) => `${key}=${value}\n`);
  return `${lines.join('')}\n${request.stdin}`;
}

export interface WireAnswer {
  readonly exitCode: number;
  readonly stdout: string;
}

export function encodeWireAnswer(answer: WireAnswer): string {
  return `${answer.exitCode}\n${answer.stdout}`;
}

export function decodeWireAnswer(text: string): WireAnswer | undefined {
  const match = /^([0-9]{1,3})\n/.exec(text);
  return match === null ? undefined : { exitCode: Number(match[1]), stdout: text.slice(match[0].length) };
}
