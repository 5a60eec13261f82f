/** The `-o` option that every listing takes. */
import { Option } from 'commander';

export function outputOption(): Option {
  return new Option('-o, --output <format>', 'how to print')
    .choices(['table', 'json', 'yaml'])
    .default('table');
}
