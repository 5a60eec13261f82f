/** Rules of containers, volumes and port mappings, in Marathon's words. */
import type { AppNetwork } from '../model/app.ts';
import type { Issue } from './issues.ts';
import type { ContainerInput, PortMappingInput, VolumeInput } from './schema.ts';

const featureMissing = (feature: string): string =>
  `Feature ${feature} is not enabled. Enable with --enable_features ${feature})`;
export const NO_SECRETS = featureMissing('secrets');

/** Of what was sent, before defaults: some of it would not survive them. */
export function containerIssues(container: ContainerInput | undefined): Issue[] {
  if (container === undefined) return [];
  const { type, docker } = container;
  const issues: Issue[] = [];
  const rule = (broken: boolean, path: string, error: string): void => {
    if (broken) issues.push({ path, errors: [error] });
  };
  rule(type === 'DOCKER' && docker === undefined, '/container/docker', 'not defined');
  rule(
    container.appc !== undefined,
    '/container/appc',
    'AppC images are not supported. Use container.docker.image',
  );
  rule(
    container.linuxInfo !== undefined,
    '/container/linuxInfo',
    'linuxInfo is not supported. Remove it, or use container.docker.parameters with type DOCKER',
  );
  rule(
    type === 'DOCKER' && docker?.pullConfig !== undefined,
    '/container/docker/pullConfig',
    'pullConfig is not supported with Docker containerizer',
  );
  rule(type === 'MESOS' && docker?.pullConfig !== undefined, '/container/docker/pullConfig', NO_SECRETS);
  const volumes = container.volumes.flatMap((volume, i) => volumeIssues(volume, `/container/volumes(${i})`));
  return [...issues, ...volumes];
}

function volumeIssues(volume: VolumeInput, path: string): Issue[] {
  const issues: Issue[] = [];
  const rule = (broken: boolean, field: string, error: string): void => {
    if (broken) issues.push({ path: path + field, errors: [error] });
  };
  if (volume.external !== undefined) return [{ path, errors: [featureMissing('external_volumes')] }];
  if (volume.secret !== undefined) return [{ path, errors: [NO_SECRETS] }];
  rule(volume.containerPath === '', '/containerPath', 'must not be empty');
  const { persistent } = volume;
  if (persistent === undefined) {
    rule(volume.hostPath === undefined || volume.hostPath === '', '/hostPath', 'must not be empty');
    return issues;
  }
  const { size, type, maxSize } = persistent;
  rule(volume.hostPath !== undefined, '', 'must not define both hostPath and persistent');
  rule(['.', '..'].includes(volume.containerPath), '/containerPath', 'can not be one of (.,..)');
  rule(volume.containerPath.includes('/'), '/containerPath', 'value must not contain "/"');
  rule(volume.mode !== 'RW', '/mode', 'must be RW');
  rule(!(size > 0), '/persistent/size', `got ${size}, expected more than 0`);
  rule(maxSize !== undefined && type !== 'mount', '/persistent', 'Only mount volumes can have maxSize');
  rule(maxSize !== undefined && maxSize <= size, '/persistent', 'Max size must be larger than size');
  rule(
    type === 'root' && persistent.constraints.length > 0,
    '/persistent',
    'Constraints on root volumes are not supported',
  );
  rule(
    type !== 'root',
    '/persistent/type',
    `type ${type} is not supported: only root disk resources are offered`,
  );
  return issues;
}

export function portMappingIssues(
  mappings: readonly PortMappingInput[],
  networks: readonly AppNetwork[],
): Issue[] {
  const path = '/container/portMappings';
  const issues: Issue[] = [];
  const names = mappings.flatMap((mapping) => mapping.name ?? []);
  if (new Set(names).size !== names.length) issues.push({ path, errors: ['Port names must be unique.'] });
  const networkNames = networks.flatMap((network) => network.name ?? []);
  const isMany = networks.filter((network) => network.mode === 'container').length > 1;
  for (const [i, { hostPort, networkNames: chosen = [] }] of mappings.entries()) {
    if (isMany && hostPort !== undefined && chosen.length !== 1)
      issues.push({
        path: `${path}(${i})`,
        errors: [
          'networkNames must be a single item list when hostPort is specified and more than 1 container network is defined',
        ],
      });
    for (const [n, name] of chosen.entries())
      if (!networkNames.includes(name))
        issues.push({
          path: `${path}(${i})/networkNames(${n})`,
          errors: [`is not one of (${networkNames.join(',')})`],
        });
  }
  return issues;
}
