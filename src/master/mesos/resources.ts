/** Resources as Mesos writes them: numbers, and ranges of ports as text. */
import type { ResourcesRecord } from '../../model/task.ts';
import type { TaskFacts } from './facts.ts';

export interface MesosResources {
  readonly cpus: number;
  readonly gpus: number;
  readonly mem: number;
  readonly disk: number;
  /** `[31000-31001, 31005-31005]` */
  readonly ports?: string;
}

export const NO_RESOURCES: MesosResources = { cpus: 0, gpus: 0, mem: 0, disk: 0 };

export function offered(record: ResourcesRecord | undefined): MesosResources {
  if (record === undefined) return NO_RESOURCES;
  const { cpus, mem_mib: mem, disk_mib: disk, gpus, ports } = record;
  return { cpus, gpus, mem, disk, ...portText(ports) };
}

export function usedBy({ launch, task }: TaskFacts): MesosResources {
  const { cpus = 0, mem_mib: mem = 0, disk_mib: disk = 0, gpus = 0 } = launch?.resources ?? {};
  return { cpus, gpus, mem, disk, ...portText(singles(task.ports.flatMap((port) => port.host_port ?? []))) };
}

export function sum(tasks: readonly TaskFacts[]): MesosResources {
  const total = { cpus: 0, gpus: 0, mem: 0, disk: 0 };
  for (const task of tasks) {
    const { cpus, gpus, mem, disk } = usedBy(task);
    total.cpus = rounded(total.cpus + cpus);
    total.gpus += gpus;
    total.mem += mem;
    total.disk += disk;
  }
  const ports = tasks.flatMap(({ task }) => task.ports.flatMap((port) => port.host_port ?? []));
  return { ...total, ...portText(singles(ports)) };
}

/** Scalars have three decimals in Mesos. */
const rounded = (value: number): number => Math.round(value * 1000) / 1000;

function singles(ports: readonly number[]): [number, number][] {
  const ranges: [number, number][] = [];
  for (const port of [...new Set(ports)].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === port - 1) last[1] = port;
    else ranges.push([port, port]);
  }
  return ranges;
}

function portText(ranges: readonly (readonly [number, number])[]): { readonly ports?: string } {
  if (ranges.length === 0) return {};
  return { ports: `[${ranges.map(([from, to]) => `${from}-${to}`).join(', ')}]` };
}
