/** An API's error answer as the error that a person reads: ours say what to do, Marathon's say what is wrong where. */
import { PortolanError, type ErrorCode } from '../base/errors.ts';
import type { Answer } from '../http/client.ts';
import type { ErrorBody } from '../http/errors.ts';
import { keyWords, memberName, type RefusedMember } from './definition-refusal.ts';

export function answerError({ status, body }: Answer): PortolanError {
  const told = (typeof body === 'object' && body !== null ? body : {}) as Partial<ErrorBody> & MarathonBody;
  const message = told.message ?? `The API answered ${status}`;
  const { code = codeOf(status), field, deployments } = told;
  const locking = deployments?.map(({ id }) => id).join(', ');
  const remedy =
    told.remedy ??
    (locking === undefined ? undefined : `wait for deployment ${locking}, or cancel it with --force`);
  const refused = refusedMembers(told.details);
  return new PortolanError(
    code,
    locking === undefined ? message + detailText(told.details, refused) : 'App is locked',
    {
      ...(field === undefined ? {} : { field }),
      ...(remedy === undefined ? {} : { remedy }),
      ...detailsOf(told.details, refused),
    },
  );
}

/** Ours are an object; of Marathon's, what is refused where. */
function detailsOf(
  details: unknown,
  refused: readonly RefusedMember[],
): { readonly details?: Readonly<Record<string, unknown>> } {
  if (refused.length > 0) return { details: { refused } };
  const isOurs = typeof details === 'object' && details !== null && !Array.isArray(details);
  return isOurs ? { details: details as Readonly<Record<string, unknown>> } : {};
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

/** What Marathon's bodies say of members: `{"path":"/portDefinitions(0)/name","errors":["error.pattern"]}`. */
function refusedMembers(details: unknown): readonly RefusedMember[] {
  if (!Array.isArray(details)) return [];
  return (details as Partial<RefusedMember>[]).map(({ path = '/', errors = [] }) => ({ path, errors }));
}

/** `: portDefinitions[0].name: has characters that it may not have; …` */
function detailText(details: unknown, refused: readonly RefusedMember[]): string {
  if (typeof details === 'string') return `: ${details}`;
  const lines = refused.map(({ path, errors }) => {
    const said = errors.map(keyWords).join(', ');
    return path === '/' ? said : `${memberName(path)}: ${said}`;
  });
  return lines.length === 0 ? '' : `: ${lines.join('; ')}`;
}
