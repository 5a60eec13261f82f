/** Errors as the CNI specification 1.1 wants them (section 5, "Error"): a code, a message, details. */

/** 0 to 99 are the specification's, 100 and more are ours. */
export const cniCodes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  notAvailableLimited: 51,
  internal: 100,
  alreadyAttached: 101,
  addressInUse: 102,
  portInUse: 103,
  addressesExhausted: 104,
  checkFailed: 105,
} as const;
export type CniCode = (typeof cniCodes)[keyof typeof cniCodes];

export class CniError extends Error {
  override readonly name = 'CniError';
  readonly code: CniCode;
  readonly details: string | undefined;

  constructor(code: CniCode, message: string, details?: string) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** The error object for standard output; `cniVersion` is the one of the request, whatever it said. */
export function encodeError(error: CniError, cniVersion: string): string {
  return JSON.stringify({
    cniVersion,
    code: error.code,
    msg: error.message,
    ...(error.details === undefined ? {} : { details: error.details }),
  });
}
