/** An API's error answer as the error that a person reads: ours say what to do, Marathon's say what is wrong where. */
import { PortolanError, type ErrorCode } from '../base/errors.ts';
import type { Answer } from '../http/client.ts';
import type { ErrorBody } from '../http/errors.ts';

export function answerError({ status, body }: Answer): PortolanError {
  const told = (typeof body === 'object' && body !== null ? body : {}) as Partial<ErrorBody> & MarathonBody;
  const message = told.message ?? `The API answered ${status}`;
  const { code = codeOf(status), field, deployments } = told;
  const locking = deployments?.map(({ id }) => id).join(', ');
  const remedy =
    told.remedy ??
    (locking === undefined ? undefined : `wait for deployment ${locking}, or cancel it with --force`);
  return new PortolanError(
    code,
    locking === undefined ? message + detailText(told.details) : 'App is locked',
    {
      ...(field === undefined ? {} : { field }),
      ...(remedy === undefined ? {} : { remedy }),
    },
  );
}

interface MarathonBody {
  readonly deployments?: readonly { readonly id: string }[];
}

function codeOf(status: number): ErrorCode {
  if (status === 404) return 'not-found';
  if (status === 409) return 'conflict';
  if (status === 403) return 'forbidden';
  if (status === 503) return 'unavailable';
  return status < 500 ? 'invalid' : 'internal';
}

/** `: /portDefinitions(0)/name: error.pattern; /id: …` */
function detailText(details: unknown): string {
  if (typeof details === 'string') return `: ${details}`;
  if (!Array.isArray(details)) return '';
  const lines = (details as { path?: string; errors?: readonly string[] }[]).map(
    ({ path = '/', errors = [] }) => `${path}: ${errors.join(', ')}`,
  );
  return lines.length === 0 ? '' : `: ${lines.join('; ')}`;
}
