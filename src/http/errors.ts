/** How errors look over HTTP: one JSON body, one status per code. */
import { z } from 'zod';
import {
  isOutOfSpace,
  isPortolanError,
  OUT_OF_SPACE_REMEDY,
  PortolanError,
  type ErrorCode,
} from '../base/errors.ts';
import type { Answer } from './client.ts';

export type ErrorStatus = 400 | 403 | 404 | 409 | 500 | 503;

export interface ErrorBody {
  readonly message: string;
  readonly code: ErrorCode;
  readonly field?: string;
  readonly remedy?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

const statuses: Readonly<Record<ErrorCode, ErrorStatus>> = {
  invalid: 400,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  exhausted: 409,
  unavailable: 503,
  corrupt: 500,
  internal: 500,
};

export function errorStatus(code: ErrorCode): ErrorStatus {
  return statuses[code];
}

/** The body for `error`; anything unexpected is `internal` and keeps its text out of the answer. */
export function errorBody(error: unknown): ErrorBody {
  if (isPortolanError(error)) {
    return {
      message: error.message,
      code: error.code,
      ...(error.field === undefined ? {} : { field: error.field }),
      ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
      ...(error.details === undefined ? {} : { details: error.details }),
    };
  }
  if (error instanceof z.ZodError) return schemaErrorBody(error);
  if (isOutOfSpace(error))
    return {
      message: 'Cannot answer the request: no space is left on the disk',
      code: 'unavailable',
      remedy: OUT_OF_SPACE_REMEDY,
    };
  return {
    message: 'Cannot answer the request: internal error',
    code: 'internal',
    remedy: "see the daemon's log",
  };
}

function schemaErrorBody(error: z.ZodError): ErrorBody {
  const issue = error.issues[0];
  const field = issue === undefined || issue.path.length === 0 ? undefined : fieldPath(issue.path);
  return {
    message: `Cannot read the request${field === undefined ? '' : `: field "${field}"`}: ${issue?.message ?? 'invalid'}`,
    code: 'invalid',
    ...(field === undefined ? {} : { field }),
    details: { issues: error.issues.map((each) => ({ field: fieldPath(each.path), message: each.message })) },
  };
}

/** `overlays[0].subnet`, as a user would write it. */
export function fieldPath(path: readonly PropertyKey[]): string {
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : (i > 0 ? '.' : '') + String(part)))
    .join('');
}

/** The body of an answer; one that tells of an error is thrown as it was at the other end. */
export function answered({ status, body }: Answer): unknown {
  if (status < 400) return body;
  const told = (typeof body === 'object' ? body : undefined) as Partial<ErrorBody> | null | undefined;
  throw new PortolanError(told?.code ?? 'unavailable', told?.message ?? `The server answered ${status}`, {
    ...(told?.field === undefined ? {} : { field: told.field }),
    ...(told?.remedy === undefined ? {} : { remedy: told.remedy }),
    ...(told?.details === undefined ? {} : { details: told.details }),
  });
}
