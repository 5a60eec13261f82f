/** Errors as Marathon's clients know them: status and body by what went wrong (the reference "Marathon", section 3.1). */
import { z } from 'zod';
import { isPortolanError, PortolanError, type ErrorCode } from '../../base/errors.ts';
import { issuePath, Refused } from '../../apps/issues.ts';
import type { Reply } from './routes.ts';

const statuses: Readonly<Record<ErrorCode, number>> = {
  invalid: 422,
  'not-found': 404,
  conflict: 409,
  exhausted: 409,
  unavailable: 503,
  forbidden: 403,
  corrupt: 500,
  internal: 500,
};

/** The body could not be read as JSON at all. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable';
  readonly reply: Reply;

  constructor(status: number, json: unknown) {
    super('Cannot read the request');
    this.reply = { status, json };
  }
}

/** What is unexpected keeps its text out of the answer: `isInternal`. */
export function errorReply(error: unknown): Reply & { readonly isInternal: boolean } {
  const reply = known(error);
  if (reply !== undefined) return { ...reply, isInternal: false };
  return { status: 500, json: { message: 'Internal error. See the log of the master.' }, isInternal: true };
}

function known(error: unknown): Reply | undefined {
  if (error instanceof Unreadable) return error.reply;
  if (error instanceof Refused) {
    const isTypes = error.kind === 'types';
    return {
      status: isTypes ? 400 : 422,
      json: { message: isTypes ? 'Invalid JSON' : 'Object is not valid', details: error.issues },
    };
  }
  if (error instanceof z.ZodError) {
    const details = error.issues.map((issue) => ({ path: issuePath(issue.path), errors: [issue.message] }));
    return { status: 422, json: { message: 'Object is not valid', details } };
  }
  if (!isPortolanError(error) || error.code === 'internal') return undefined;
  return { status: statuses[error.code], json: bodyOf(error) };
}

export const LOCKED =
  "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.";

function bodyOf(error: PortolanError): Readonly<Record<string, unknown>> {
  const deployments = error.details?.['deployments'];
  if (error.code === 'conflict' && Array.isArray(deployments))
    return {
      message: LOCKED,
      deployments: deployments.map((each: unknown) => (typeof each === 'string' ? { id: each } : each)),
    };
  const { message, remedy } = error;
  return { message, ...(remedy === undefined ? {} : { remedy }) };
}

export function appNotFound(id: string, version?: string): PortolanError {
  const inVersion = version === undefined ? '' : ` in version ${version}`;
  return new PortolanError('not-found', `App '${id}' does not exist${inVersion}`);
}

export function groupNotFound(id: string, version?: string): PortolanError {
  const inVersion = version === undefined ? '' : ` in version ${version}`;
  return new PortolanError('not-found', `Group '${id}' does not exist${inVersion}`);
}

export function taskNotFound(id: string): PortolanError {
  return new PortolanError('not-found', `Task '${id}' does not exist`);
}
