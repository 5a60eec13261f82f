/**
 * Container runtimes that we did not write, on a host of a lab: podman with its CNI backend, and containerd with `ctr`.
 *
 * Everything of theirs is on the host's own disk and in its own `/run`. Their cgroups lie where those of the lab's own
 * Docker would, so that the lab takes them away with the host.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { dockerCgroup } from '../../src/lab/docker-hosts.ts';
import { eventually, webServer } from '../../src/lab/demo-tools.ts';
import { hostPaths } from '../../src/lab/paths.ts';
import type { CommandResult } from '../../src/runtime/command.ts';
import { lastLine } from '../../src/runtime/command.ts';
import type { TestLab } from './lab.ts';

/** A web server in a container, answering with its own name. */
export interface RunningWeb {
  readonly name: string;
  readonly host: string;
  readonly address: string;
  /** Of its first process, by which its namespaces are entered. */
  readonly pid: string;
}

const IMAGE = 'docker.io/portolan/busybox:latest';
const WAIT_MS = 20_000;

/** A tree with only busybox: a root file system for podman, an image in Docker's archive format for containerd. */
const prepareScript = `
mkdir -p /var/lib/runtimes/root /var/lib/runtimes/image
cd /var/lib/runtimes/root
mkdir -p bin proc sys dev etc tmp run
cp "$(command -v busybox)" bin/busybox; ln -sf busybox bin/sh
cd ../image
tar -C ../root -cf layer.tar .
sum=$(sha256sum layer.tar | cut -d' ' -f1)
echo '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:'$sum'"]}}' > config.json
echo '[{"Config":"config.json","RepoTags":["portolan/busybox:latest"],"Layers":["layer.tar"]}]' > manifest.json
tar -cf ../image.tar manifest.json config.json layer.tar
mkdir -p /etc/containers /etc/containerd
# What the machine has there is not the lab's; ctr takes the first list of the directory.
find /etc/cni/net.d -name '*.conflist' ! -name 'dcos*' -delete
cat > /etc/containers/storage.conf <<'END'
[storage]
driver = "vfs"
graphroot = "/var/lib/runtimes/podman"
runroot = "/run/podman"
END
cat > /etc/containers/containers.conf <<'END'
[network]
network_backend = "cni"
network_config_dir = "/etc/cni/net.d"
cni_plugin_dirs = ["/opt/cni/bin", "/usr/lib/cni"]
default_network = "dcos"
[engine]
runtime = "runc"
lock_type = "file"
cgroup_manager = "cgroupfs"
events_logger = "file"
no_pivot_root = true
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
END
cat > /etc/containerd/config.toml <<'END'
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
END
`;

export class HostRuntimes {
  readonly #lab: TestLab;
  readonly host: string;
  /** Where containers put their cgroups. */
  readonly #cgroup: string;

  constructor(lab: TestLab, host: string) {
    this.#lab = lab;
    this.host = host;
    this.#cgroup = dockerCgroup(hostPaths(lab.name, host));
  }

  async prepare(): Promise<void> {
    await this.#lab.sh(this.host, prepareScript);
    await this.startContainerd();
    await this.#sh(`ctr images import --no-unpack /var/lib/runtimes/image.tar`);
  }

  /** Also after a reboot; its end is the host's. */
  async startContainerd(): Promise<void> {
    const argv = ['containerd', '--config', '/etc/containerd/config.toml'];
    const daemon = await this.#lab.tools.startOnHost(this.host, argv);
    daemon.stderr?.resume();
    await eventually('containerd', WAIT_MS, async () =>
      (await this.#lab.try(this.host, ['ctr', 'version'])).status === 0 ? true : undefined,
    );
  }

  podman(...args: readonly string[]): Promise<CommandResult> {
    return this.#lab.try(this.host, ['podman', ...args]);
  }

  /** `podman run` of a web server; rejects with podman's reason. */
  async podmanWeb(name: string, network: string, ...options: readonly string[]): Promise<RunningWeb> {
    const started = await this.podman(
      ...[
        'run',
        '-d',
        '--name',
        name,
        '--network',
        network,
        '--cgroup-parent',
        this.#cgroup,
        '--tmpfs',
        '/tmp',
      ],
      ...[...options, '--rootfs', '/var/lib/runtimes/root', ...webServer(name)],
    );
    if (started.status !== 0) throw new Error(lastLine(started.stderr));
    return this.podmanInspect(name, network);
  }

  async podmanInspect(name: string, network: string): Promise<RunningWeb> {
    const format = `{{(index .NetworkSettings.Networks "${network}").IPAddress}} {{.State.Pid}}`;
    const { stdout } = await this.podman('inspect', name, '--format', format);
    const [address = '', pid = ''] = stdout.trim().split(' ');
    return { name, host: this.host, address, pid };
  }

  /** `ctr run --cni`, in the foreground: it calls DEL itself when the container has ended. */
  async ctrWeb(name: string): Promise<{ readonly web: RunningWeb; ended(): Promise<void> }> {
    const client = await this.#lab.tools.startOnHost(this.host, this.#ctrRun(name, '--rm'));
    const closed = once(client, 'close');
    client.stderr?.resume();
    return {
      web: await this.#ctrInspect(name, client),
      ended: async () => {
        await this.#sh(`ctr tasks kill -s SIGKILL ${name}`);
        await closed;
      },
    };
  }

  /** `ctr run -d --cni`: nobody calls DEL for it. */
  async ctrDetached(name: string): Promise<RunningWeb> {
    await this.#lab.sh(this.host, this.#ctrRun(name, '--detach').map(quote).join(' '));
    return this.#ctrInspect(name);
  }

  #ctrRun(name: string, ...options: readonly string[]): readonly string[] {
    const cgroup = `${this.#cgroup}/${name}`;
    const all = [...options, '--cni', '--snapshotter', 'native', '--cgroup', cgroup];
    // Without a tmpfs: each container has its own copy of the root.
    return ['ctr', 'run', ...all, IMAGE, name, ...webServer(name)];
  }

  async #ctrInspect(name: string, client?: ChildProcess): Promise<RunningWeb> {
    const container = `default-${name}`;
    const endpoint = await eventually(`the endpoint of ${name}`, WAIT_MS, async () => {
      if (client !== undefined && client.exitCode !== null)
        throw new Error(`ctr has ended: ${client.exitCode}`);
      return (await this.#lab.tools.endpoints(this.host)).find((each) => each.container === container);
    });
    const pid = (await this.#sh(`ctr tasks ls | grep '^${name} ' | tr -s ' ' | cut -d' ' -f2`)).trim();
    return { name, host: this.host, address: endpoint.addresses[0]?.split('/')[0] ?? '', pid };
  }

  #sh(script: string): Promise<string> {
    return this.#lab.sh(this.host, script);
  }
}

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
