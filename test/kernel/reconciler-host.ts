/**
 * A reconciler in a process of its own, so that a test can put it into a network namespace and kill it.
 *
 * Speaks lines of JSON: a request `{ id, do, input? }` on standard input, `{ id, result }` and `{ log }` on standard
 * output. Without memory of an earlier run, as an agent after `kill -9`.
 */
import { createInterface } from 'node:readline';
import { realClock } from '../../src/base/clock.ts';
import { interfaceAddress, ip } from '../../src/base/ip.ts';
import { describeError } from '../../src/base/errors.ts';
import type { Log, LogLine } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { openKernel } from '../../src/kernel/real.ts';
import type { NodeId } from '../../src/model/names.ts';
import { compile } from '../../src/overlay/compile.ts';
import type { Attachment, CompileInput, DesiredState } from '../../src/overlay/desired.ts';
import { createReconciler } from '../../src/agent/reconciler.ts';
import type { Reconciler, RoundReport } from '../../src/agent/reconciler.ts';
import { describeChange } from '../../src/agent/repairs.ts';

/** `CompileInput` with addresses as text. */
export type InputText = Omit<CompileInput, 'underlay' | 'removed' | 'attachments' | 'vips' | 'dns'> & {
  readonly underlay: { readonly address: string; readonly link: string; readonly mtu: number };
  readonly removed: readonly NodeId[];
  readonly attachments: readonly (Omit<Attachment, 'addresses'> & {
    readonly addresses: readonly string[];
  })[];
};

export type HostRequest =
  | { readonly do: 'desired'; readonly input: InputText }
  | { readonly do: 'settle' }
  | { readonly do: 'metrics' }
  | { readonly do: 'cpu' }
  | { readonly do: 'remove' };

export interface HostReport {
  readonly done: boolean;
  readonly steps: readonly string[];
  readonly durationMs: number;
  readonly failures: readonly string[];
  readonly faults: readonly string[];
  readonly overlays: Readonly<Record<string, string>>;
}

function toReport(report: RoundReport): HostReport {
  return {
    done: report.done,
    steps: [...report.performed].map(({ change }) => describeChange(change)),
    durationMs: report.durationMs,
    failures: report.failures.map(({ change, reason }) => `${change.what}: ${reason}`),
    faults: report.faults.map(({ reason }) => reason),
    overlays: Object.fromEntries(
      [...report.overlays].map(([name, { ok, error }]) => [name, ok ? 'ok' : (error ?? '')]),
    ),
  };
}

function parseInput(text: InputText): CompileInput {
  return {
    ...text,
    dns: { addresses: [ip('198.51.100.1')], port: 53 },
    removed: new Set(text.removed),
    vips: [],
    underlay: { ...text.underlay, address: ip(text.underlay.address) },
    attachments: text.attachments.map((each) => ({
      ...each,
      addresses: each.addresses.map(interfaceAddress),
    })),
  };
}

function write(line: unknown): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function lineLog(base: LogLine['fields'] = {}): Log {
  const at = (level: LogLine['level']) => (message: string, fields?: LogLine['fields']) => {
    const { error, ...rest } = { ...base, ...fields };
    write({
      log: { level, message, fields: error === undefined ? rest : { ...rest, error: describeError(error) } },
    });
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (component, fields) => lineLog({ ...base, component, ...fields }),
  };
}

const metrics = createMetrics();
let desired: DesiredState | undefined;

async function answer(reconciler: Reconciler, request: HostRequest): Promise<unknown> {
  switch (request.do) {
    case 'desired':
      desired = compile(parseInput(request.input));
      return toReport(await reconciler.settle());
    case 'settle':
      return toReport(await reconciler.settle());
    case 'metrics':
      return metrics.snapshot();
    case 'cpu': {
      const before = process.cpuUsage();
      for (let round = 0; round < 10; round++) await reconciler.settle();
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 10_000;
    }
    case 'remove':
      return toReport(await reconciler.removeAll());
  }
}

const log = lineLog();
const kernel = await openKernel({ log });
const reconciler = createReconciler({ kernel, clock: realClock, log, metrics }, { desired: () => desired });
await reconciler.start();
write({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const { id, ...request } = JSON.parse(line) as HostRequest & { readonly id: number };
  write({ id, result: await answer(reconciler, request as HostRequest) });
}
await reconciler.stop();
kernel.close();
