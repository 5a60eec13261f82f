/** An endpoint: one interface of one container on one overlay. Published as `node/<id>/endpoint/<container>/<ifname>`. */
import { z } from 'zod';
import { interfaceAddressText, ipText, macText } from './text.ts';

export const portMapping = z.strictObject({
  hostPort: z.int().min(1).max(65_535),
  containerPort: z.int().min(1).max(65_535),
  protocol: z.enum(['tcp', 'udp', 'sctp']).default('tcp'),
  /** Only on this address of the host; absent = on all. */
  hostIP: ipText.optional(),
});
export type PortMapping = z.infer<typeof portMapping>;

export const endpoint = z.strictObject({
  container: z.string(),
  ifname: z.string(),
  network: z.string(),
  /**
   * On no overlay: on a bridge of its host's own, or in its host's own network. Others reach it by its host's address, and
   * its own are not told.
   */
  mode: z.enum(['bridge', 'host']).optional(),
  /** What made it: `cni` (any runtime through our plug-in), `docker`. */
  source: z.enum(['cni', 'docker']),
  /** Human name where the runtime gives one. */
  name: z.string().optional(),
  addresses: z.array(interfaceAddressText),
  mac: macText.optional(),
  ports: z.array(portMapping),
  labels: z.record(z.string(), z.string()),
  /** `args."org.apache.mesos".network_info`, kept as given. */
  network_info: z.json().optional(),
});
export type Endpoint = z.infer<typeof endpoint>;
