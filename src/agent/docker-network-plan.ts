/** What to do about one overlay's Docker network: pure, from what is wanted and what is there. */
import type { Prefix } from '../base/ip.ts';
import { parsePrefix } from '../base/ip.ts';
import { dockerBridgeName, type AgentOverlay } from '../model/overlay.ts';
import type { DockerNetwork, DockerNetworkSpec, DockerVersion } from '../runtime/types.ts';

/** Label of networks that we made; its value is the overlay's name. */
export const DOCKER_LABEL = 'portolan';
/** From this version of the API (Docker 28) a network may do without IPv4. */
const API_WITHOUT_IPV4 = [1, 48] as const;

const BRIDGE_NAME = 'com.docker.network.bridge.name';
const MASQUERADE = 'com.docker.network.bridge.enable_ip_masquerade';
const MTU = 'com.docker.network.driver.mtu';

/** One overlay as Docker shall offer it. */
export interface DockerNetworkWish {
  /** The overlay's name is the network's. */
  readonly name: string;
  /** The Docker half of the block, of each family. */
  readonly subnets: readonly Prefix[];
  readonly mtu: number;
}

export type DockerNetworkPlan =
  /** With a remark where it serves, and will be made anew when nobody uses it. */
  | { readonly do: 'keep'; readonly remark?: string }
  | { readonly do: 'create'; readonly spec: DockerNetworkSpec }
  /** It is ours, it does not fit and nobody uses it. */
  | { readonly do: 'recreate'; readonly spec: DockerNetworkSpec; readonly differs: readonly string[] }
  | { readonly do: 'refuse'; readonly message: string }
  /** This daemon cannot have such a network. */
  | { readonly do: 'unsupported'; readonly message: string };

/** `undefined` when the overlay gives this node no Docker half. */
export function dockerNetworkWish(
  overlay: AgentOverlay,
  options: { readonly mtu: number; readonly enableIpv6: boolean },
): DockerNetworkWish | undefined {
  const { ip, ip6 } = overlay.docker_bridge ?? {};
  const texts = [ip, options.enableIpv6 ? ip6 : undefined];
  const subnets = texts.flatMap((text) => (text === undefined ? [] : (parsePrefix(text) ?? [])));
  return subnets.length === 0 ? undefined : { name: overlay.info.name, subnets, mtu: options.mtu };
}

export function dockerNetworkPlan(
  wish: DockerNetworkWish,
  existing: DockerNetwork | undefined,
  daemon: DockerVersion,
): DockerNetworkPlan {
  const spec = networkSpec(wish);
  if (!spec.enableIpv4 && !knowsIpv6Only(daemon))
    return {
      do: 'unsupported',
      message: `Not offered to Docker: version ${daemon.version} needs an IPv4 subnet in every network, and overlay "${wish.name}" has none (Docker 28 and later do without)`,
    };
  if (existing === undefined) return { do: 'create', spec };
  const differs = differences(spec, existing);
  if (differs.length === 0) return { do: 'keep' };
  const isOurs = existing.labels[DOCKER_LABEL] === wish.name;
  if (isOurs && existing.attachments.length === 0) return { do: 'recreate', spec, differs };
  // The underlay's MTU has changed under running containers: path MTU discovery serves them meanwhile.
  if (isOurs && differs.length === 1 && differs[0]?.startsWith(`${MTU} `) === true)
    return {
      do: 'keep',
      remark: `${differs[0]}: it is made anew when no container is on it any more`,
    };
  return {
    do: 'refuse',
    message: `Cannot use Docker network "${wish.name}": ${differs.join('; ')}: remove it with "docker network rm ${wish.name}", then it is created anew`,
  };
}

function networkSpec(wish: DockerNetworkWish): DockerNetworkSpec {
  return {
    name: wish.name,
    subnets: wish.subnets,
    enableIpv4: wish.subnets.some((subnet) => subnet.family === 4),
    enableIpv6: wish.subnets.some((subnet) => subnet.family === 6),
    options: {
      [BRIDGE_NAME]: dockerBridgeName(wish.name),
      // Masquerading is done for all overlays at once, in our own table.
      [MASQUERADE]: 'false',
      [MTU]: String(wish.mtu),
    },
    labels: { [DOCKER_LABEL]: wish.name },
  };
}

/** Which of Docker's other networks keeps this one from being made, in words; `undefined` = none does. */
export function networkInTheWay(
  spec: DockerNetworkSpec,
  networks: readonly DockerNetwork[],
): string | undefined {
  const bridge = spec.options[BRIDGE_NAME];
  for (const { name, subnets, options } of networks.filter((each) => each.name !== spec.name)) {
    const remedy = `remove that with "docker network rm ${name}", then the overlay's is made`;
    const taken = subnets.find((theirs) => spec.subnets.some((wanted) => wanted.overlaps(theirs)));
    const cannot = `Cannot make Docker network "${spec.name}"`;
    if (taken !== undefined)
      return `${cannot} with ${spec.subnets.join(' ')}: Docker network "${name}" has ${String(taken)}: ${remedy}`;
    if (bridge !== undefined && options[BRIDGE_NAME] === bridge)
      return `${cannot} on bridge ${bridge}: Docker network "${name}" has it: ${remedy}`;
  }
  return undefined;
}

/** Everything that decides whether packets pass; a person's further options and labels are theirs. */
function differences(spec: DockerNetworkSpec, existing: DockerNetwork): readonly string[] {
  const list = (subnets: readonly Prefix[]): string => subnets.map(String).sort().join(' ') || 'none';
  const pairs: readonly (readonly [string, string, string])[] = [
    ['driver', existing.driver, 'bridge'],
    ['internal', String(existing.internal), 'false'],
    ['subnet', list(existing.subnets), list(spec.subnets)],
    ['IPv6', String(existing.enableIpv6), String(spec.enableIpv6)],
    ...Object.entries(spec.options).map(
      ([key, value]) => [key, existing.options[key] ?? 'not set', value] as const,
    ),
  ];
  return pairs.flatMap(([what, is, wanted]) => (is === wanted ? [] : [`${what} is ${is}, not ${wanted}`]));
}

function knowsIpv6Only({ apiVersion }: DockerVersion): boolean {
  const [major = 0, minor = 0] = apiVersion.split('.').map(Number);
  return major > API_WITHOUT_IPV4[0] || (major === API_WITHOUT_IPV4[0] && minor >= API_WITHOUT_IPV4[1]);
}
