/** The door: runs one command line of `portolan`. */
import { runProgram } from './cli/program.ts';

// Whoever reads our output may have enough of it (`portolan node ls | head`): that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await runProgram(process.argv.slice(2));
