/** What `npm run sim:long` runs. */

/** Cheap ones first: a run that is cut short still says something. */
const scenarioPlans: readonly string[] = [
  '--scenario change --nodes 100',
  '--scenario death --nodes 100 --seconds 30',
  '--scenario mass-death --nodes 100',
  '--scenario join-storm --nodes 100',
  '--scenario rolling-restart --nodes 100 --seconds 60',
  '--scenario one-way --nodes 100',
  '--scenario flap --nodes 100',
  '--scenario clock-step --nodes 100',
  '--scenario recycled-address --nodes 100',
  '--scenario loss20 --nodes 100 --seconds 20',
  '--scenario disk-loss --nodes 100',
  '--scenario replay --nodes 100',
  '--scenario change --nodes 1000 --records 50',
  '--scenario death --nodes 1000 --seconds 40',
  '--scenario mass-death --nodes 1000',
  '--scenario clock-step --nodes 1000 --seconds 20',
  '--scenario one-way --nodes 1000 --seconds 30',
  '--scenario recycled-address --nodes 1000 --seconds 20',
  '--scenario disk-loss --nodes 1000 --seconds 24',
  '--scenario flap --nodes 1000 --seconds 20',
  '--scenario rolling-restart --nodes 1000 --seconds 30',
  '--scenario loss20 --nodes 1000 --seconds 10',
  '--scenario half-partition --nodes 1000 --seconds 20',
  '--scenario replay --nodes 1000 --seconds 10',
  '--scenario join-storm --nodes 1000 --seconds 5',
];

/** Its connections and heartbeats grow with the square of the nodes. */
const baselinePlans: readonly string[] = [100, 300].flatMap((nodes) => [
  `--scenario change --nodes ${nodes} --seconds 15 --protocol full-mesh`,
  `--scenario death --nodes ${nodes} --seconds 20 --protocol full-mesh`,
  `--scenario mass-death --nodes ${nodes} --seconds 10 --protocol full-mesh`,
  `--scenario stall --nodes ${nodes} --seconds 20 --protocol full-mesh`,
]);

const longPlans: readonly string[] = ['--scenario half-partition --nodes 100'];

/** An hour of a thousand nodes and a day of a hundred, in pieces from seeds of their own. */
const stallPlans: readonly string[] = [
  ...seeds(30).map((seed) => `--scenario stall --nodes 1000 --seconds 120 --seed ${seed}`),
  ...seeds(24).map((seed) => `--scenario stall --nodes 100 --seconds 3600 --seed ${seed}`),
];

export const plans: readonly string[] = [
  ...[...scenarioPlans, ...baselinePlans, ...longPlans].map((plan) => `${plan} --seed 1`),
  ...stallPlans,
];

function seeds(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}
