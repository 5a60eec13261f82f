/**
 * What a master shows of apps to the world: the Marathon API, the Mesos state, and their description.
 *
 * One for all doors of the master, so that event streams and subscriptions are shared; closed before the orchestrator.
 */
import type { Hono } from 'hono';
import { LOCAL_PORT_MAX, LOCAL_PORT_MIN } from '../apps/service-ports.ts';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { NodeId } from '../model/names.ts';
import type { OverlayInfo } from '../model/overlay.ts';
import type { RecordView } from '../node/record-view.ts';
import type { Orchestrator } from './apps/types.ts';
import { MarathonApi, type MarathonInfo } from './marathon/api.ts';
import { MesosApi } from './mesos/api.ts';
import { ClusterState } from './mesos/cluster-state.ts';
import { MARATHON } from './mesos/facts.ts';
import { endpoint } from './mesos/state.ts';

/** The release whose API this is; clients choose by it what they may use. */
const MARATHON_VERSION = '1.11.24';
const BRIDGE = 'mesos-bridge';

export interface FrontComponents {
  readonly orchestrator: Orchestrator;
  readonly view: RecordView;
  readonly isReachable: (node: NodeId) => boolean;
  readonly isDrained: (node: NodeId) => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export interface FrontInit {
  readonly cluster: string;
  readonly address: string;
  /** Known when the master listens. */
  readonly port: () => number;
  readonly overlays: readonly OverlayInfo[];
}

export class Front {
  readonly #marathon: MarathonApi;
  readonly #mesos: MesosApi;
  readonly #state: ClusterState;

  constructor(components: FrontComponents, init: FrontInit) {
    const defaultNetwork = defaultNetworkOf(init.overlays);
    this.#state = new ClusterState(components, init);
    this.#mesos = new MesosApi({ ...components, state: this.#state });
    this.#marathon = new MarathonApi(components, {
      names: { bridge: BRIDGE, ...(defaultNetwork === undefined ? {} : { defaultNetwork }) },
      info: () => infoOf(init, defaultNetwork),
    });
  }

  addTo(app: Hono): void {
    this.#marathon.addTo(app);
    this.#mesos.addTo(app);
    app.get('/v1/openapi.json', (context) => context.json(this.#marathon.openApi(MARATHON_VERSION)));
  }

  close(): void {
    this.#marathon.close();
    this.#mesos.close();
    this.#state.close();
  }
}

/** The first overlay with IPv4: what an app means that asks for a container network and names none. */
function defaultNetworkOf(overlays: readonly OverlayInfo[]): string | undefined {
  return (overlays.find((overlay) => overlay.subnet !== undefined) ?? overlays[0])?.name;
}

function infoOf(init: FrontInit, defaultNetwork: string | undefined): MarathonInfo {
  const { cluster, address } = init;
  const leader = endpoint(address, init.port());
  return {
    name: MARATHON,
    version: MARATHON_VERSION,
    buildref: 'portolan',
    elected: true,
    leader,
    frameworkId: `${cluster}-0000`,
    marathon_config: {
      default_network_name: defaultNetwork ?? null,
      mesos_bridge_name: BRIDGE,
      local_port_min: LOCAL_PORT_MIN,
      local_port_max: LOCAL_PORT_MAX,
      framework_name: MARATHON,
      master: `http://${leader}`,
      ha: false,
      hostname: address,
      checkpoint: true,
      features: [],
    },
    zookeeper_config: {},
    http_config: { http_port: init.port(), https_port: null },
  };
}
