/**
 * Logging behind one small interface.
 *
 * Log transitions, not states; variables go into fields, never into the sentence.
 * debug: for us. info: a transition. warn: repaired or retried by itself. error: needs a person.
 */
import { pino, type DestinationStream, type Logger } from 'pino';
import { describeError } from './errors.ts';

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger whose lines carry `component` and `fields`. */
  child(component: string, fields?: LogFields): Log;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Writes JSON lines, to standard error unless told otherwise, synchronously, so that a crash loses none. */
export function createLog(level: LogLevel, fields: LogFields = {}, destination?: DestinationStream): Log {
  const options = { level, base: { ...fields }, timestamp: pino.stdTimeFunctions.isoTime };
  return wrap(pino(options, destination ?? pino.destination({ dest: 2, sync: true })), {});
}

/** `root` has no bindings: what a child repeats, pino writes twice in one JSON object. */
function wrap(root: Logger, bindings: LogFields): Log {
  const logger = root.child(bindings);
  return {
    debug: (message, fields) => logger.debug(withCause(fields), message),
    info: (message, fields) => logger.info(withCause(fields), message),
    warn: (message, fields) => logger.warn(withCause(fields), message),
    error: (message, fields) => logger.error(withCause(fields), message),
    child: (component, fields) =>
      wrap(root, { ...bindings, ...fields, component: within(bindings, component) }),
  };
}

/** `exchange.gossip`: the component of a component. */
function within({ component }: LogFields, child: string): string {
  return typeof component === 'string' ? `${component}.${child}` : child;
}

/** An `Error` in field `error` is written as its message and remedy, so that every line stays flat. */
function withCause(fields: LogFields | undefined): LogFields {
  if (fields === undefined || !(fields['error'] instanceof Error)) return fields ?? {};
  return { ...fields, error: describeError(fields['error']) };
}

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

export interface LogLine {
  readonly level: Exclude<LogLevel, 'silent'>;
  readonly message: string;
  readonly fields: LogFields;
}

/** A log that remembers its lines: for tests. */
export function memoryLog(lines: LogLine[] = [], base: LogFields = {}): Log & { readonly lines: LogLine[] } {
  const at = (level: LogLine['level']) => (message: string, fields?: LogFields) => {
    lines.push({ level, message, fields: { ...base, ...fields } });
  };
  return {
    lines,
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (component, fields) => memoryLog(lines, { ...base, component, ...fields }),
  };
}
