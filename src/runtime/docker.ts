/** The real Docker daemon, by its HTTP API on a unix socket. The shapes are those of API 1.24 and later. */
import { z } from 'zod';
import { parseInterfaceAddress, parseIp, parsePrefix } from '../base/ip.ts';
import { parseMac } from '../base/mac.ts';
import { PortolanError } from '../base/errors.ts';
import { callDocker, streamDocker } from './docker-http.ts';
import type {
  Docker,
  DockerAttachment,
  DockerContainer,
  DockerEvent,
  DockerNetwork,
  DockerNetworkSpec,
  DockerPort,
  DockerRunning,
} from './types.ts';

// Go prints an empty map as null and leaves fields out that a version does not know.
const textMap = z
  .record(z.string(), z.string())
  .nullish()
  .transform((map) => map ?? {});

const versionAnswer = z.object({ Version: z.string(), ApiVersion: z.string() });

const attachmentAnswer = z.object({
  Name: z.string(),
  EndpointID: z.string(),
  MacAddress: z.string().default(''),
  IPv4Address: z.string().default(''),
  IPv6Address: z.string().default(''),
});

const networkAnswer = z.object({
  Id: z.string(),
  Name: z.string(),
  Driver: z.string(),
  Internal: z.boolean().default(false),
  EnableIPv6: z.boolean().default(false),
  IPAM: z.object({ Config: z.array(z.object({ Subnet: z.string().default('') })).nullish() }),
  Options: textMap,
  Labels: textMap,
  Containers: z.record(z.string(), attachmentAnswer).nullish(),
});

const bindingAnswer = z.object({ HostIp: z.string().default(''), HostPort: z.string().default('') });

const containerAnswer = z.object({
  Id: z.string(),
  Name: z.string(),
  Config: z.object({ Labels: textMap }),
  State: z.object({ Pid: z.int().default(0) }).nullish(),
  NetworkSettings: z.object({ Ports: z.record(z.string(), z.array(bindingAnswer).nullable()).nullish() }),
});

const runningAnswer = z.array(
  z.object({
    Id: z.string(),
    Names: z.array(z.string()).nullish(),
    Labels: textMap,
    Ports: z
      .array(
        z.object({
          IP: z.string().default(''),
          PrivatePort: z.int(),
          PublicPort: z.int().default(0),
          Type: z.string(),
        }),
      )
      .nullish(),
    NetworkSettings: z.object({ Networks: z.record(z.string(), z.unknown()).nullish() }).nullish(),
  }),
);

const eventLine = z.object({
  Type: z.enum(['network', 'container']),
  Action: z.string(),
  Actor: z.object({ ID: z.string() }),
});

export function openDocker(socketPath: string): Docker {
  return {
    version: async () => {
      const answer = versionAnswer.parse(await callDocker(socketPath, { method: 'GET', path: '/version' }));
      return { version: answer.Version, apiVersion: answer.ApiVersion };
    },
    network: async (name) => {
      const path = `/networks/${encodeURIComponent(name)}`;
      const answer = await callDocker(socketPath, { method: 'GET', path });
      return answer === undefined ? undefined : readNetwork(answer);
    },
    networks: async () => {
      const answer = await callDocker(socketPath, { method: 'GET', path: '/networks' });
      return z
        .array(z.unknown())
        .parse(answer ?? [])
        .map((each) => ({ ...readNetwork(each), attachments: [] }));
    },
    createNetwork: async (spec) => {
      const call = { method: 'POST', path: '/networks/create', body: createBody(spec) } as const;
      const answer = await callDocker(socketPath, call);
      // 404 of this path is "plugin not found": the bridge driver is not there.
      if (answer === undefined)
        throw new PortolanError('internal', `Docker has no "bridge" driver for network "${spec.name}"`);
      return z.object({ Id: z.string() }).parse(answer).Id;
    },
    removeNetwork: async (name) => {
      await callDocker(socketPath, { method: 'DELETE', path: `/networks/${encodeURIComponent(name)}` });
    },
    container: async (id) => {
      const path = `/containers/${encodeURIComponent(id)}/json`;
      const answer = await callDocker(socketPath, { method: 'GET', path });
      return answer === undefined ? undefined : readContainer(answer);
    },
    containers: async () => {
      const answer = await callDocker(socketPath, { method: 'GET', path: '/containers/json' });
      return readRunning(answer ?? []);
    },
    events: (onEvent) => {
      const filters = encodeURIComponent(JSON.stringify({ type: ['network', 'container'] }));
      return streamDocker(socketPath, `/events?filters=${filters}`, (value) => {
        const event = readEvent(value);
        if (event !== undefined) onEvent(event);
      });
    },
  };
}

function createBody(spec: DockerNetworkSpec): unknown {
  return {
    Name: spec.name,
    // Names are not unique in Docker unless one asks (always so since 25.0).
    CheckDuplicate: true,
    Driver: 'bridge',
    EnableIPv6: spec.enableIpv6,
    // Before API 1.48 there is no such field, and IPv4 cannot be left out.
    ...(spec.enableIpv4 ? {} : { EnableIPv4: false }),
    IPAM: { Driver: 'default', Config: spec.subnets.map((subnet) => ({ Subnet: String(subnet) })) },
    Options: spec.options,
    Labels: spec.labels,
  };
}

function readNetwork(answer: unknown): DockerNetwork {
  const network = networkAnswer.parse(answer);
  return {
    id: network.Id,
    name: network.Name,
    driver: network.Driver,
    internal: network.Internal,
    enableIpv6: network.EnableIPv6,
    subnets: (network.IPAM.Config ?? []).flatMap(({ Subnet }) => parsePrefix(Subnet) ?? []),
    options: network.Options,
    labels: network.Labels,
    attachments: Object.entries(network.Containers ?? {})
      .map(([container, attachment]) => readAttachment(container, attachment))
      .sort((a, b) => (a.container < b.container ? -1 : 1)),
  };
}

function readAttachment(container: string, answer: z.infer<typeof attachmentAnswer>): DockerAttachment {
  return {
    container,
    name: answer.Name,
    endpoint: answer.EndpointID,
    mac: parseMac(answer.MacAddress),
    addresses: [answer.IPv4Address, answer.IPv6Address].flatMap((text) => parseInterfaceAddress(text) ?? []),
  };
}

function readContainer(answer: unknown): DockerContainer {
  const container = containerAnswer.parse(answer);
  const ports = Object.entries(container.NetworkSettings.Ports ?? {});
  const pid = container.State?.Pid ?? 0;
  return {
    id: container.Id,
    name: container.Name.replace(/^\//, ''),
    labels: container.Config.Labels,
    ...(pid === 0 ? {} : { pid }),
    ports: ports.flatMap(([port, bindings]) =>
      (bindings ?? []).flatMap((binding) => readPort(port, binding)),
    ),
  };
}

function readRunning(answer: unknown): readonly DockerRunning[] {
  return runningAnswer
    .parse(answer)
    .map(({ Id, Names, Labels, Ports, NetworkSettings }) => ({
      id: Id,
      // Links of other containers add names such as `/other/web`.
      name: (Names ?? []).find((name) => name.lastIndexOf('/') === 0)?.slice(1) ?? Id,
      labels: Labels,
      ports: (Ports ?? []).flatMap(({ IP, PrivatePort, PublicPort, Type }) =>
        readPort(`${PrivatePort}/${Type}`, { HostIp: IP, HostPort: String(PublicPort) }),
      ),
      networks: Object.keys(NetworkSettings?.Networks ?? {}).sort(),
    }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** `80/tcp` with `{ HostIp: "0.0.0.0", HostPort: "8080" }`; Docker lists 0.0.0.0 and :: apart, we mean both by one. */
function readPort(port: string, binding: z.infer<typeof bindingAnswer>): DockerPort[] {
  const [number, protocol] = port.split('/');
  const hostPort = Number(binding.HostPort);
  if (binding.HostIp === '::' || hostPort === 0 || Number.isNaN(hostPort)) return [];
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') return [];
  const everywhere = binding.HostIp === '' || binding.HostIp === '0.0.0.0';
  const hostIp = everywhere ? undefined : parseIp(binding.HostIp);
  return [{ hostPort, containerPort: Number(number), protocol, hostIp }];
}

function readEvent(value: unknown): DockerEvent | undefined {
  const parsed = eventLine.safeParse(value);
  if (!parsed.success) return undefined;
  return { type: parsed.data.Type, action: parsed.data.Action, id: parsed.data.Actor.ID };
}
