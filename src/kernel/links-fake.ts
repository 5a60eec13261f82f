/**
 * The links of one namespace in memory: made, set, moved, deleted, with the refusals of the kernel.
 *
 * Answers are the kernel's refusals; `undefined` is its consent.
 */
import { parseMac, type Mac } from '../base/mac.ts';
import { inventedMac, type FakeLink } from './link-fake.ts';
import type { FakeObjects, Refusal } from './objects-fake.ts';
import type { KernelEvent, KernelOperation, LinkDetails, LinkSettings } from './types.ts';

/** What the links of one machine share: the paths of its namespaces, and their numbering. */
export interface LinkMachine {
  readonly namespaces: ReadonlyMap<string, { readonly home: FakeLinks }>;
  /** Where each link is. */
  readonly homes: Map<FakeLink, FakeLinks>;
  nextIndex: number;
}

type TellLink = (change: KernelEvent['change'], link: FakeLink) => void;

const MAX_NAME = 15;

export class FakeLinks {
  readonly #links = new Map<number, FakeLink>();
  readonly #machine: LinkMachine;
  /** What hangs on them, and goes with them. */
  readonly #objects: FakeObjects;
  readonly #tell: TellLink;

  constructor(components: {
    readonly machine: LinkMachine;
    readonly objects: FakeObjects;
    readonly tell: TellLink;
  }) {
    this.#machine = components.machine;
    this.#objects = components.objects;
    this.#tell = components.tell;
    this.#insert('lo', { kind: 'other', name: '' }, { mtu: 65_536, mac: parseMac('00:00:00:00:00:00') });
  }

  all(): FakeLink[] {
    return [...this.#links.values()];
  }

  byName(name: string): FakeLink | undefined {
    for (const link of this.#links.values())
      if (link.name === name || link.altNames.includes(name)) return link;
    return undefined;
  }

  /** All of them go, veth peers elsewhere too. */
  destroy(): void {
    for (const link of this.all()) this.#remove(link);
  }

  add(operation: Extract<KernelOperation, { do: 'link-add' }>): Refusal {
    const { name, link, settings } = operation;
    const refusal = this.#refuseName(name) ?? this.#refuseMaster(settings);
    if (refusal !== undefined) return refusal;
    if (link.kind !== 'veth') {
      const details: LinkDetails = link.kind === 'bridge' ? { kind: 'bridge' } : { ...link };
      if (link.kind === 'vxlan' && this.#sharesTunnel(link.vni, link.port)) return 'EEXIST';
      return this.set(this.#insert(name, details, {}), settings);
    }
    const { peer } = link;
    const home =
      peer.namespacePath === undefined ? this : this.#machine.namespaces.get(peer.namespacePath)?.home;
    if (home === undefined) return 'ENOENT';
    if (home === this && peer.name === name) return 'EEXIST';
    const peerRefusal = home.#refuseName(peer.name);
    if (peerRefusal !== undefined) return peerRefusal;
    const near = this.#insert(name, { kind: 'veth' }, {});
    const far = home.#insert(
      peer.name,
      { kind: 'veth' },
      {
        ...(peer.mtu === undefined ? {} : { mtu: peer.mtu }),
        ...(peer.mac === undefined ? {} : { mac: peer.mac }),
      },
    );
    near.peer = far;
    far.peer = near;
    return this.set(near, settings);
  }

  #refuseName(name: string): Refusal {
    if (name.length > MAX_NAME) return 'ERANGE';
    if (name === '' || name === '.' || name === '..' || /[/:\s]/.test(name)) return 'EINVAL';
    return this.byName(name) === undefined ? undefined : 'EEXIST';
  }

  #refuseMaster(settings: LinkSettings): Refusal {
    if (typeof settings.master !== 'string') return undefined;
    const master = this.byName(settings.master);
    if (master === undefined) return 'ENODEV';
    return master.details.kind === 'bridge' ? undefined : 'EOPNOTSUPP';
  }

  #sharesTunnel(vni: number, port: number): boolean {
    return [...this.#links.values()].some(
      ({ details }) => details.kind === 'vxlan' && details.vni === vni && details.port === port,
    );
  }

  #insert(
    name: string,
    details: LinkDetails,
    init: { readonly mtu?: number; readonly mac?: Mac | undefined },
  ): FakeLink {
    const index = this.#machine.nextIndex++;
    const link: FakeLink = {
      index: name === 'lo' ? 1 : index,
      name,
      up: false,
      mtu: init.mtu ?? 1500,
      mac: init.mac ?? inventedMac(index),
      alias: undefined,
      altNames: [],
      master: undefined,
      group: 0,
      details,
      hairpin: false,
      peer: undefined,
    };
    this.#links.set(link.index, link);
    this.#machine.homes.set(link, this);
    this.#tell('new', link);
    return link;
  }

  set(link: FakeLink, settings: LinkSettings): Refusal {
    const refusal = this.#refuseSettings(link, settings);
    if (refusal !== undefined) return refusal;
    link.mtu = settings.mtu ?? link.mtu;
    link.mac = settings.mac ?? link.mac;
    link.alias = settings.alias === undefined ? link.alias : settings.alias || undefined;
    link.group = settings.group ?? link.group;
    link.name = settings.rename ?? link.name;
    if (settings.master !== undefined)
      link.master = settings.master === null ? undefined : this.byName(settings.master);
    if (settings.addAltName !== undefined && !link.altNames.includes(settings.addAltName))
      link.altNames.push(settings.addAltName);
    link.hairpin = settings.hairpin ?? link.hairpin;
    if (settings.up === true) link.up = true;
    if (settings.up === false && link.up) {
      link.up = false;
      this.#objects.takeDown(link);
    }
    this.#tell('new', link);
    return undefined;
  }

  #refuseSettings(link: FakeLink, settings: LinkSettings): Refusal {
    const { rename, addAltName, mtu } = settings;
    if (mtu !== undefined && (mtu < 68 || mtu > 65_535)) return 'EINVAL';
    if (rename !== undefined && rename !== link.name) {
      const refusal = this.#refuseName(rename);
      if (refusal !== undefined) return refusal;
    }
    if (
      addAltName !== undefined &&
      !link.altNames.includes(addAltName) &&
      this.byName(addAltName) !== undefined
    )
      return 'EEXIST';
    const master = this.#refuseMaster(settings);
    if (master !== undefined) return master;
    const port = settings.master === undefined ? link.master !== undefined : settings.master !== null;
    return settings.hairpin !== undefined && !port ? 'EOPNOTSUPP' : undefined;
  }

  move(link: FakeLink, path: string): Refusal {
    const target = this.#machine.namespaces.get(path)?.home;
    if (target === undefined) return 'ENOENT';
    if (target === this) return undefined;
    if (target.byName(link.name) !== undefined) return 'EEXIST';
    link.up = false;
    this.#objects.strip(link);
    this.#links.delete(link.index);
    this.#tell('delete', link);
    if (target.#links.has(link.index)) link.index = this.#machine.nextIndex++;
    Object.assign(link, { up: false, master: undefined, hairpin: false });
    this.#machine.homes.set(link, target);
    target.#links.set(link.index, link);
    target.#tell('new', link);
    return undefined;
  }

  delete(link: FakeLink): Refusal {
    if (link.details.kind === 'other') return 'EOPNOTSUPP';
    this.#remove(link);
    return undefined;
  }

  #remove(link: FakeLink): void {
    link.up = false;
    this.#objects.strip(link);
    this.#links.delete(link.index);
    for (const port of this.#links.values())
      if (port.master === link) {
        port.master = undefined;
        port.hairpin = false;
      }
    this.#tell('delete', link);
    this.#machine.homes.delete(link);
    const { peer } = link;
    link.peer = undefined;
    const home = peer === undefined ? undefined : this.#machine.homes.get(peer);
    if (peer !== undefined && home !== undefined) home.#remove(peer);
  }
}
