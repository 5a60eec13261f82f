/**
 * Rules of a whole definition, in Marathon's words and at Marathon's paths (the reference "Marathon", sections 1 and 2.4).
 *
 * `inputIssues` sees what was sent in the new form, `appIssues` the resolved app.
 */
import type { App, AppHealthCheck } from '../model/app.ts';
import { constraintError } from './constraint-syntax.ts';
import { idErrors, ROOT } from './ids.ts';
import type { Issue } from './issues.ts';
import type { Canonical } from './migrate.ts';
import { isSingleInstance } from './resolve.ts';
import { containerIssues, NO_SECRETS, portMappingIssues } from './validate-container.ts';

type Rule = (broken: boolean, path: string, error: string) => void;

function collect(check: (rule: Rule) => void): Issue[] {
  const issues: Issue[] = [];
  check((broken, path, error) => {
    if (broken) issues.push({ path, errors: [error] });
  });
  return issues;
}

export function inputIssues(input: Canonical): Issue[] {
  const hasSecretEnv = Object.values(input.env ?? {}).some((value) => typeof value !== 'string');
  const issues = collect((rule) => {
    rule(Object.keys(input.secrets ?? {}).length > 0, '/secrets', NO_SECRETS);
    rule(hasSecretEnv, '/env', NO_SECRETS);
    rule(input.acceptedResourceRoles?.length === 0, '/acceptedResourceRoles', 'must not be empty');
    for (const name of Object.keys(input.env ?? {}))
      rule(
        name === '' || name.includes('=') || name.includes('\0'),
        `/env(${name})`,
        'is not a name of a variable',
      );
  });
  return [...issues, ...containerIssues(input.container)];
}

export function appIssues(app: App): Issue[] {
  return [
    ...idIssues(app),
    ...networkIssues(app),
    ...portIssues(app),
    ...checkIssues(app),
    ...ruleIssues(app),
    ...app.constraints.flatMap((constraint, i) => {
      const error = constraintError(constraint);
      return error === undefined ? [] : [{ path: `/constraints(${i})`, errors: [error] }];
    }),
  ];
}

function idIssues(app: App): Issue[] {
  return collect((rule) => {
    rule(app.id === ROOT, '/id', 'must not be root');
    for (const error of idErrors(app.id)) rule(true, '/id', error);
    for (const [i, id] of app.dependencies.entries())
      for (const error of idErrors(id)) rule(true, `/dependencies(${i})`, error);
  });
}

function networkIssues({ networks, container }: App): Issue[] {
  const count = (mode: string): number => networks.filter((network) => network.mode === mode).length;
  const names = networks.flatMap((network) => network.name ?? []);
  const [host, bridge, own] = [count('host'), count('container/bridge'), count('container')];
  const isOneKind = [host, bridge, own].filter((n) => n > 0).length === 1 && host <= 1 && bridge <= 1;
  return collect((rule) => {
    rule(
      networks.some(
        ({ mode, name, labels }) =>
          mode === 'host' && (name !== undefined || Object.keys(labels ?? {}).length > 0),
      ),
      '/networks',
      'Host networks may not have names or labels',
    );
    rule(
      networks.some(({ mode, name }) => mode === 'container/bridge' && name !== undefined),
      '/networks',
      'Bridge networks may not have names',
    );
    rule(new Set(names).size !== names.length, '/networks', 'Duplicate networks are not allowed');
    rule(
      !isOneKind,
      '/networks',
      'May specify a single host network, single bridge network, or else 1-to-n container networks',
    );
    rule(
      container?.type === 'DOCKER' && own > 1,
      '/',
      'may only specify a single container network when using the Docker container engine',
    );
  });
}

function portIssues({ portDefinitions = [], container, networks }: App): Issue[] {
  const names = portDefinitions.flatMap((definition) => definition.name ?? []);
  const fixed = portDefinitions.map((definition) => definition.port).filter((port) => port !== 0);
  const definitions = collect((rule) => {
    rule(new Set(names).size !== names.length, '/portDefinitions', 'Port names must be unique.');
    rule(new Set(fixed).size !== fixed.length, '/portDefinitions', 'Ports must be unique.');
  });
  return [...definitions, ...portMappingIssues(container?.portMappings ?? [], networks)];
}

const MESOS_PROTOCOLS = ['MESOS_HTTP', 'MESOS_HTTPS', 'MESOS_TCP'];
const MARATHON_PROTOCOLS = ['HTTP', 'HTTPS', 'TCP'];

function checkIssues(app: App): Issue[] {
  const ports = app.container?.portMappings ?? app.portDefinitions ?? [];
  const names = ports.flatMap((port) => port.name ?? []);
  return collect((rule) => {
    for (const [i, check] of app.healthChecks.entries()) {
      rule(
        !addressesPort(check, ports.length),
        `/healthChecks(${i})`,
        'Health check port indices must address an element of the ports array or container port mappings.',
      );
      rule(
        check.ipProtocol === 'IPv6' &&
          !(MESOS_PROTOCOLS.includes(check.protocol) && app.container?.type === 'DOCKER'),
        `/healthChecks(${i})`,
        'IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks',
      );
      rule(
        check.protocol === 'COMMAND' && check.command === undefined,
        `/healthChecks(${i})/command`,
        'not defined',
      );
      rule(check.intervalSeconds === 0, `/healthChecks(${i})/intervalSeconds`, 'got 0, expected more than 0');
      rule(check.timeoutSeconds === 0, `/healthChecks(${i})/timeoutSeconds`, 'got 0, expected more than 0');
    }
    rule(
      app.healthChecks.filter((check) => MESOS_PROTOCOLS.includes(check.protocol)).length > 1,
      '/',
      'AppDefinition can contain at most one Mesos health check',
    );
    rule(
      app.readinessChecks.length > 1,
      '/readinessChecks',
      `has size ${app.readinessChecks.length}, expected 1 or less`,
    );
    for (const [i, { portName, timeoutSeconds, intervalSeconds }] of app.readinessChecks.entries()) {
      rule(
        !names.includes(portName),
        `/readinessChecks(${i})/portName`,
        `No port definition reference for portName ${portName}`,
      );
      rule(
        timeoutSeconds >= intervalSeconds,
        `/readinessChecks(${i})/timeoutSeconds`,
        `got ${timeoutSeconds}, expected less than ${intervalSeconds}`,
      );
    }
  });
}

function addressesPort(check: AppHealthCheck, ports: number): boolean {
  const isMesos = MESOS_PROTOCOLS.includes(check.protocol);
  if (!isMesos && !MARATHON_PROTOCOLS.includes(check.protocol)) return true;
  if (check.portIndex !== undefined) return check.portIndex < ports;
  return check.port !== undefined;
}

function ruleIssues(app: App): Issue[] {
  const { container, residency, upgradeStrategy, unreachableStrategy } = app;
  const single = isSingleInstance(app.labels);
  const isResident = container?.volumes.some((volume) => 'persistent' in volume) ?? false;
  const strategy = (broken: boolean, field: string, value: number, rule: Rule): void =>
    rule(broken, `/upgradeStrategy/${field}`, `got ${value}, expected 0.0`);
  return collect((rule) => {
    rule(
      !hasSomethingToRun(app),
      '/',
      "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
    );
    rule(
      (residency !== undefined) !== isResident,
      '/',
      'App must contain persistent volumes and define residency',
    );
    rule(single && app.instances > 1, '/', 'Single instance app may only have one instance');
    const { minimumHealthCapacity, maximumOverCapacity } = upgradeStrategy;
    strategy(single && minimumHealthCapacity !== 0, 'minimumHealthCapacity', minimumHealthCapacity, rule);
    strategy(
      (single || isResident) && maximumOverCapacity !== 0,
      'maximumOverCapacity',
      maximumOverCapacity,
      rule,
    );
    rule(
      isResident && unreachableStrategy !== 'disabled',
      '/',
      'unreachableStrategy must be disabled for resident tasks',
    );
    if (unreachableStrategy !== 'disabled') {
      const { inactiveAfterSeconds: inactive, expungeAfterSeconds: expunge } = unreachableStrategy;
      rule(
        expunge < inactive,
        '/unreachableStrategy/expungeAfterSeconds',
        `got ${expunge}, expected ${inactive} or more`,
      );
    }
    rule(
      app.gpus > 0 && container?.type === 'DOCKER',
      '/',
      'GPU resources only work with the Mesos containerizer',
    );
  });
}

function hasSomethingToRun({ cmd, args = [], container }: App): boolean {
  const hasCmd = cmd !== undefined;
  const hasArgs = args.length > 0;
  if (hasCmd && hasArgs) return false;
  return hasCmd || hasArgs || container?.docker !== undefined;
}
