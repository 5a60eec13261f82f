/** Virtual IPs: what it takes to put them into the kernel, to compare them with it, and to change one. */
import { spawn } from 'node:child_process';
import type { Bench, Row } from './support/report.ts';
import { atEnd, namespace } from './support/run.ts';
import { vipsOn } from './support/vip-topology.ts';

const FEW = 10;
const MANY = 10_000;

export const vipLoad: Bench = {
  name: 'vip-load',
  about: `VIPs of ten backends in the kernel: ${FEW} and ${MANY} of them`,
  async run() {
    const host = await namespace('bvl');
    const vips = vipsOn({
      startOnHost: (argv) => {
        const child = spawn('nsenter', [`--net=/run/netns/${host}`, ...argv], {
          stdio: ['pipe', 'pipe', 'inherit'],
        });
        atEnd(() => child.kill('SIGKILL'));
        return child;
      },
    });
    await vips.ask({ load: FEW });
    const few = await vips.ask({ measure: true });
    const many = await vips.ask({ load: MANY });
    return rows(many, await vips.ask({ measure: true }), few);
  },
};

type Measured = Readonly<Record<string, number | string>>;

function rows(many: Measured, measured: Measured, few: Measured): Row[] {
  const row = (what: string, from: Measured, key: string, atMost?: number): Row => ({
    ...{ what, unit: 'ms', ours: Number(from[key]) },
    ...(atMost === undefined ? {} : { promise: { atMost } }),
  });
  return [
    row(`${MANY} x 10 compiled VIPs into an empty kernel`, many, 'coldMs', 500),
    row('the same from the records of 10,000 tasks', many, 'wholeMs'),
    row('longest hold of the event loop while loading', many, 'heldMs'),
    row(`${MANY} x 10 read back and compared`, measured, 'auditMs', 600),
    row('longest hold of the event loop meanwhile', measured, 'auditHeldMs', 10),
    row(`one backend changed, record to kernel, ${MANY} VIPs, 99th percentile`, measured, 'changeP99', 1),
    row(`the same, median`, measured, 'changeP50'),
    row(`the same, 50 changes in one turn of the event loop, 99th percentile`, measured, 'togetherP99'),
    row(`the same with ${FEW} VIPs, 99th percentile`, few, 'changeP99', 1),
  ];
}
