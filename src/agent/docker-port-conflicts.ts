/** Host ports that Docker publishes though a container of another runtime has them: Docker does not ask, we cannot refuse. */
import type { Endpoint } from '../model/endpoint.ts';
import type { DockerRunning } from '../runtime/types.ts';
import { describeMapping } from './attachments-ports.ts';

/** One line each; `attached`: containers that came through CNI. */
export function portConflicts(
  running: readonly DockerRunning[],
  attached: readonly Endpoint[],
): readonly string[] {
  return attached.flatMap(({ name: holder, container, ports }) =>
    ports.flatMap((mapping) =>
      running
        .filter((each) =>
          each.ports.some(
            ({ hostPort, protocol, hostIp }) =>
              hostPort === mapping.hostPort &&
              protocol === mapping.protocol &&
              (hostIp === undefined || mapping.hostIP === undefined || String(hostIp) === mapping.hostIP),
          ),
        )
        .map(
          ({ name }) =>
            `container "${holder ?? container}" has ${describeMapping(mapping)}, which Docker publishes for "${name}" as well: packets go to the former`,
        ),
    ),
  );
}
