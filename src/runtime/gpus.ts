/**
 * NVIDIA's GPUs of this host, as the devices that its driver makes: `/dev/nvidia0`, and those that all of them need.
 *
 * What programs need besides, the driver's libraries, is in a view of the host's root; an image must bring its own.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** A character device, where a container is to find it. */
export interface Device {
  readonly path: string;
  readonly major: number;
  readonly minor: number;
}

export interface HostGpus {
  readonly gpus: readonly Device[];
  /** Without these none of them works. */
  readonly control: readonly Device[];
}

const GPU = /^nvidia([0-9]+)$/;
const CONTROL: ReadonlySet<string> = new Set([
  'nvidiactl',
  'nvidia-uvm',
  'nvidia-uvm-tools',
  'nvidia-modeset',
]);

/** In the order of their numbers; none where there is no driver. */
export async function hostGpus(directory = '/dev'): Promise<HostGpus> {
  const names = await readdir(directory).catch(() => []);
  const number = (name: string): number => Number(GPU.exec(name)?.[1]);
  const gpus = names.filter((name) => GPU.test(name)).sort((a, b) => number(a) - number(b));
  const control = names.filter((name) => CONTROL.has(name)).sort();
  return { gpus: await devices(directory, gpus), control: await devices(directory, control) };
}

async function devices(directory: string, names: readonly string[]): Promise<readonly Device[]> {
  const found: Device[] = [];
  for (const name of names) {
    const status = await stat(join(directory, name)).catch(() => undefined);
    if (status?.isCharacterDevice() !== true) continue;
    found.push({ path: join('/dev', name), ...numbersOf(status.rdev) });
  }
  return found;
}

/** As glibc packs them (gnu_dev_major, gnu_dev_minor). */
function numbersOf(rdev: number): { readonly major: number; readonly minor: number } {
  const packed = BigInt(rdev);
  const major = ((packed >> 8n) & 0xfffn) | ((packed >> 32n) & 0xfffff000n);
  const minor = (packed & 0xffn) | ((packed >> 12n) & 0xffffff00n);
  return { major: Number(major), minor: Number(minor) };
}
