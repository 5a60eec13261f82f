/** The door: runs one command line of `portolan`. */
import { runProgram } from './cli/program.ts';

process.exitCode = await runProgram(process.argv.slice(2));
