/** The plug-in on a host of a lab, executed as the specification says a runtime does. */
import type { CommandResult } from '../../src/runtime/command.ts';
import type { TestLab } from './lab.ts';

export interface HandCall {
  readonly container?: string;
  /** Absent = the namespace named like the container; empty = none. */
  readonly netns?: string;
  readonly version?: string;
  readonly network?: string;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Instead of the configuration. */
  readonly stdin?: string;
}

export interface HandAnswer {
  readonly status: number;
  /** Of standard output; absent when there was none. */
  readonly json: Readonly<Record<string, unknown>> | undefined;
}

const PLUGIN = '/opt/cni/bin/portolan-cni';

export class CniByHand {
  readonly #lab: TestLab;
  readonly host: string;

  constructor(lab: TestLab, host: string) {
    this.#lab = lab;
    this.host = host;
  }

  /** Namespaces named `container`, as a runtime makes them before ADD. */
  async makeNamespaces(...containers: readonly string[]): Promise<void> {
    await this.#lab.sh(this.host, containers.map((name) => `ip netns add ${name}`).join('\n'));
  }

  async removeNamespaces(...containers: readonly string[]): Promise<void> {
    await this.#lab.sh(this.host, containers.map((name) => `ip netns delete ${name}`).join('\n'));
  }

  async call(command: string, call: HandCall = {}): Promise<HandAnswer> {
    const { container = '', netns = `/run/netns/${container}`, version = '1.1.0', network = 'dcos' } = call;
    const config = { cniVersion: version, name: network, type: 'portolan-cni', ...call.config };
    const environment = [
      `CNI_COMMAND=${command}`,
      'CNI_PATH=/opt/cni/bin',
      ...(container === '' ? [] : [`CNI_CONTAINERID=${container}`, 'CNI_IFNAME=eth0']),
      ...(container === '' || netns === '' ? [] : [`CNI_NETNS=${netns}`]),
    ];
    const script = `printf '%s' "$1" | ${PLUGIN}`;
    const stdin = call.stdin ?? JSON.stringify(config);
    return answerOf(
      await this.#lab.try(this.host, ['env', ...environment, 'sh', '-c', script, 'cni', stdin]),
    );
  }

  /**
   * Many calls at once: each of `count` containers `<prefix>1`... gets the commands one after the other, with a host port
   * of its own above 32000. Resolves to what the plug-in printed, a line for each call that printed.
   */
  async storm(prefix: string, count: number, ...commands: readonly string[]): Promise<readonly string[]> {
    const out = await this.#lab.sh(
      this.host,
      `one() {
        port=$((32000 + $2))
        echo '{"cniVersion":"1.1.0","name":"dcos","type":"portolan-cni","runtimeConfig":{"portMappings":['\\
          '{"hostPort":'$port',"containerPort":80}]}}' |
          CNI_COMMAND=$1 CNI_CONTAINERID=${prefix}$2 CNI_NETNS=/run/netns/${prefix}$2 CNI_IFNAME=eth0 \\
          CNI_PATH=/opt/cni/bin ${PLUGIN} || true
      }
      for i in $(seq ${count}); do
        (for command in ${commands.join(' ')}; do one $command $i; done) &
      done
      wait`,
    );
    return out.split('\n').filter((line) => line !== '');
  }
}

function answerOf({ status, stdout }: CommandResult): HandAnswer {
  return { status, json: stdout === '' ? undefined : (JSON.parse(stdout) as HandAnswer['json']) };
}
