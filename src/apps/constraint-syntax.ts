/** The form of constraints, in Marathon's words. What they mean is decided where tasks are placed. */
import type { Constraint } from '../model/app.ts';

const OPERATORS = ['UNIQUE', 'CLUSTER', 'GROUP_BY', 'LIKE', 'MAX_PER', 'UNLIKE', 'IS'] as const;
type Operator = (typeof OPERATORS)[number];

/** `undefined` = well formed. */
export function constraintError(constraint: Constraint): string | undefined {
  const [field, operator, value] = constraint;
  if (constraint.length === 0) return 'Missing field and operator';
  if (constraint.length < 2 || constraint.length > 3) return 'Each constraint must have either 2 or 3 fields';
  if (field === '') return 'missing field for constraint declaration';
  const known = OPERATORS.find((each) => each === operator);
  if (known === undefined)
    return 'operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS';
  return valueError(known, value);
}

function valueError(operator: Operator, value: string | undefined): string | undefined {
  switch (operator) {
    case 'UNIQUE':
      return value === undefined ? undefined : 'UNIQUE does not accept a value';
    case 'CLUSTER':
      return undefined;
    case 'GROUP_BY':
      return value === undefined || isInteger(value)
        ? undefined
        : 'GROUP BY must define an integer value or else no value at all';
    case 'MAX_PER':
      return value !== undefined && isInteger(value) ? undefined : 'MAX_PER requires an integer value';
    case 'LIKE':
    case 'UNLIKE':
      return regexError(value);
    case 'IS':
      return value === undefined || value === '' ? 'IS requires a value: a text or a number' : undefined;
  }
}

const isInteger = (text: string): boolean => /^[+-]?\d{1,9}$/.test(text);

function regexError(value: string | undefined): string | undefined {
  if (value === undefined || value === '')
    return 'LIKE and UNLIKE require a non-empty, regular expression value';
  try {
    RegExp(value);
    return undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return `'${value}' is not a valid regular expression`;
    throw error;
  }
}
