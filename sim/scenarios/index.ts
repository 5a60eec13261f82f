/** All scenarios, in the order in which they are listed. */
import type { Scenario } from '../scenario.ts';
import { death, massDeath } from './deaths.ts';
import { diskLoss, recycledAddress } from './identities.ts';
import { flap, halfPartition, oneWay } from './networks.ts';
import { replay } from './replay.ts';
import { joinStorm, rollingRestart } from './starts.ts';
import { change, loss20 } from './steady.ts';
import { clockStep, stall } from './times.ts';

export const scenarios: readonly Scenario[] = [
  change,
  death,
  massDeath,
  joinStorm,
  rollingRestart,
  halfPartition,
  oneWay,
  flap,
  stall,
  clockStep,
  recycledAddress,
  loss20,
  diskLoss,
  replay,
];
