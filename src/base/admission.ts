/** How many strangers may be at the door at once, in all and from each host, so that none keeps the others out. */

export interface AdmissionInit {
  readonly max: number;
  readonly maxPerHost: number;
}

export class Admission {
  readonly #init: AdmissionInit;
  readonly #byHost = new Map<string, number>();
  #count = 0;

  constructor(init: AdmissionInit) {
    this.#init = init;
  }

  /** False when there are too many; after true, `end` is to be called once. */
  begin(host: string): boolean {
    const ofHost = this.#byHost.get(host) ?? 0;
    if (this.#count >= this.#init.max || ofHost >= this.#init.maxPerHost) return false;
    this.#count += 1;
    this.#byHost.set(host, ofHost + 1);
    return true;
  }

  end(host: string): void {
    this.#count -= 1;
    const ofHost = (this.#byHost.get(host) ?? 1) - 1;
    if (ofHost === 0) this.#byHost.delete(host);
    else this.#byHost.set(host, ofHost);
  }
}
