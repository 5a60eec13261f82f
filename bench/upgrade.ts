/** Rolling upgrades under load, one after another: how many requests fail, by VIP and by the addresses of the tasks' name. */
import { DemoLab } from '../src/lab/demo-tools.ts';
import type { Bench, Row } from './support/report.ts';
import { INSTANCES, RollingApp, type CallPath } from './support/rolling.ts';
import { atEnd, lab } from './support/run.ts';

const LAB = 'benchroll';
const REQUESTS = 100_000;
/** Of load; an upgrade that is under way then is still finished. */
const LIMIT_MS = 180_000;
const paths: readonly { readonly path: CallPath; readonly host: string; readonly through: string }[] = [
  { path: 'name', host: 'agent1', through: 'the addresses of the name' },
  { path: 'vip', host: 'agent2', through: 'the VIP' },
];

export const upgrade: Bench = {
  name: 'upgrade',
  about: `an app of ${INSTANCES} instances on 3 lab hosts, upgraded again and again while it is called by two hosts: a new connection and a new look-up for each request, ${REQUESTS} requests each or ${LIMIT_MS / 1000} s`,
  async run() {
    const inLab = await lab(LAB, 3);
    // More ports to call from than are used in the minute that the kernel keeps one after its connection.
    for (const { host } of paths)
      await inLab(host, 'sysctl', '-qw', 'net.ipv4.ip_local_port_range=2000 65000');
    const app = new RollingApp(new DemoLab(LAB));
    await app.start(paths.map(({ host }) => host));
    const callers = paths.map(({ path, host }) => app.call(host, path, REQUESTS));
    for (const caller of callers) atEnd(() => caller.kill());
    let underWay = callers.length;
    for (const { told } of callers) void told.finally(() => underWay--).catch(() => undefined);
    const begun = performance.now();
    let upgrades = 0;
    for (; underWay > 0 && performance.now() - begun < LIMIT_MS; upgrades++) await app.upgrade();
    for (const caller of callers) caller.end();
    const told = await Promise.all(callers.map((caller) => caller.told));
    console.error(`${JSON.stringify(told)} in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
    return [
      ...told.map(({ requests, failed }, i): Row => ({
        what: `failed, of ${requests} requests through ${paths[i]?.through ?? ''}`,
        unit: '',
        ours: failed,
        promise: { atMost: 0 },
      })),
      { what: 'upgrades meanwhile', unit: '', ours: upgrades, promise: { atLeast: 1 } },
    ];
  },
};
