/**
 * Errors that reach a person or a caller.
 *
 * Grammar of messages: action first, then what is, then what is wanted, with quotes around values and the remedy last.
 */

/** What a caller may do about an error; each edge (HTTP, CLI, CNI) maps these to its own codes. */
export type ErrorCode =
  | 'invalid' // the input is wrong: say which field and how to mend it
  | 'not-found'
  | 'conflict' // something else holds what was asked for
  | 'exhausted' // no address, block or port is left
  | 'unavailable' // try again later
  | 'forbidden'
  | 'corrupt' // stored state fails its checksum
  | 'internal';

export interface PortolanErrorInit {
  /** The field, key or argument at fault, as the user wrote it. */
  readonly field?: string;
  /** What the user can do, one sentence without a full stop. */
  readonly remedy?: string;
  /** Further facts, for logs and HTTP details. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** The one error class that callers may catch by `code`. */
export class PortolanError extends Error {
  override readonly name = 'PortolanError';
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly remedy: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, init: PortolanErrorInit = {}) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = code;
    this.field = init.field;
    this.remedy = init.remedy;
    this.details = init.details;
  }
}

export function isPortolanError(error: unknown, code?: ErrorCode): error is PortolanError {
  return error instanceof PortolanError && (code === undefined || error.code === code);
}

/** One line for people: the message and, where there is one, the remedy. */
export function describeError(error: unknown): string {
  if (error instanceof PortolanError && error.remedy !== undefined)
    return `${error.message}: ${error.remedy}`;
  if (isOutOfSpace(error)) return `${error.message}: ${OUT_OF_SPACE_REMEDY}`;
  return error instanceof Error ? error.message : String(error);
}

export const OUT_OF_SPACE_REMEDY = 'make room on the file system of state_dir and try again';

/** A write of Node's that failed because the disk, or what may be used of it, is full. */
export function isOutOfSpace(error: unknown): error is Error {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return false;
  return error.code === 'ENOSPC' || error.code === 'EDQUOT';
}
